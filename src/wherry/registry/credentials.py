"""Credentials as docker, podman and their helpers keep them. Read from all the places they use; written where docker writes.

docker's config.json: auths, credsStore, credHelpers; keys are servers, the Hub's is "https://index.docker.io/v1/".
containers' auth.json: auths and credHelpers; keys may be as long as a repository, the longest that fits wins.
"""

from __future__ import annotations

import binascii
import fcntl
import os

from wherry.errors import HostError
from wherry.model import jsontext
from wherry.model.record import Record
from wherry.registry import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HUB_KEY = "https://index.docker.io/v1/"


class Credentials(Record):
    """A user's name and password, or an identity token (OAuth2 refresh token) instead of the password."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r})"


class CredentialStore:
    """The files of one command: those of the user, or the one that `authfile` or REGISTRY_AUTH_FILE names."""

    def __init__(self, authfile: str = "") -> None:
        self._named = authfile or os.environ.get("REGISTRY_AUTH_FILE", "")

    @property
    def written_file(self) -> str:
        """Where `login` writes."""
        return self._named or docker_folder() + "/config.json"

    def _files(self) -> list[str]:
        if self._named:
            return [self._named]
        found = [docker_folder() + "/config.json"]
        runtime = os.environ.get("XDG_RUNTIME_DIR", "") or (f"/run/user/{os.geteuid()}" if os.geteuid() else "/run")
        found.append(f"{runtime}/containers/{'' if os.environ.get('XDG_RUNTIME_DIR') or os.geteuid() else '0/'}auth.json")
        found.append(files.config_home() + "/containers/auth.json")
        return found

    def find(self, server: str, path: str = "") -> Credentials | None:
        """What is kept for a server ("docker.io" is the Hub), or for the repository `path` of it. Raises HostError."""
        for file in self._files():
            document = files.read_json(file)
            found = _from_helpers(document, server) or _from_auths(document, server, path)
            if found is not None:
                return found
        return None

    def servers(self) -> list[str]:
        """Every server that something is kept for in the file that `login` writes."""
        return [_normal(key) for key in files.read_json(self.written_file).get("auths") or {}]

    def save(self, server: str, found: Credentials) -> str:
        """Keep credentials; returns the path of the file if they lie in it unencrypted, "" if a helper has them."""
        helper = _helper_of(files.read_json(self.written_file), server)
        if helper:
            secret = found.identity_token or found.password
            name = "<token>" if found.identity_token else found.username
            _call(helper, "store", jsontext.dumps({"ServerURL": _key(server), "Username": name, "Secret": secret}))
            self._change(lambda d: d.setdefault("auths", {}).__setitem__(_key(server), {}))
            return ""
        entry: dict[str, Any] = {"auth": _encoded(found.username, found.password)}
        if found.identity_token:
            entry = {"auth": _encoded(found.username, ""), "identitytoken": found.identity_token}
        self._change(lambda d: d.setdefault("auths", {}).__setitem__(_key(server), entry))
        return self.written_file

    def forget(self, server: str) -> bool:
        """Drop what is kept for a server; whether there was anything."""
        document = files.read_json(self.written_file)
        keys = [k for k in document.get("auths") or {} if _normal(k) == server]
        helper = _helper_of(document, server)
        if helper:
            try:
                _call(helper, "erase", _key(server))
            except HostError:
                # docker: a helper that has nothing to forget is no failure of a logout.
                helper = ""
        if keys:

            def drop(changed: dict[str, Any]) -> None:
                for key in keys:
                    changed["auths"].pop(key, None)

            self._change(drop)
        return bool(keys or helper)

    def _change(self, change: Any) -> None:
        """Read, change and write the file as one step; other keys keep their values, the file is 0600 and never half-written."""
        path = os.path.realpath(self.written_file)
        folder = os.path.dirname(path)
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                document = files.read_json(path)
                change(document)
                _write(path, jsontext.dumps(document, indent=8) + "\n")
            finally:
                os.close(lock)
        except OSError as error:
            raise HostError(f"{path} can't be written: {os.strerror(error.errno or 0)}") from error


def docker_folder() -> str:
    return os.environ.get("DOCKER_CONFIG", "") or files.home() + "/.docker"


def _write(path: str, text: str) -> None:
    new = f"{path}.{os.getpid()}.new"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
        os.write(fd, text.encode("utf-8", "surrogateescape"))
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(new, path)


def _key(server: str) -> str:
    return HUB_KEY if server == "docker.io" else server


def _normal(key: str) -> str:
    """A key without scheme and without the paths of old registries ("/v1/", "/v2/"); the Hub's spellings are one."""
    name = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    for end in ("/v1", "/v2"):
        name = name.removesuffix(end)
    return "docker.io" if name in ("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com") else name


def _from_auths(document: dict[str, Any], server: str, path: str) -> Credentials | None:
    entries = {_normal(k): v for k, v in (document.get("auths") or {}).items()}
    parts = [p for p in path.split("/") if p]
    for count in range(len(parts), -1, -1):
        entry = entries.get("/".join([server, *parts[:count]]))
        if isinstance(entry, dict) and entry:
            return _of_entry(entry)
    return None


def _of_entry(entry: dict[str, Any]) -> Credentials:
    name, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            text = binascii.a2b_base64(str(entry["auth"])).decode("utf-8", "surrogateescape")
        except binascii.Error as error:
            raise HostError(f"stored credentials are damaged: {error}", hint="log out and in again") from error
        name, _, password = text.partition(":")
        password = password.rstrip("\0")
    return Credentials(name, password, str(entry.get("identitytoken") or ""), str(entry.get("registrytoken") or ""))


def _encoded(name: str, password: str) -> str:
    return binascii.b2a_base64(f"{name}:{password}".encode("utf-8", "surrogateescape"), newline=False).decode()


def _helper_of(document: dict[str, Any], server: str) -> str:
    for key, helper in (document.get("credHelpers") or {}).items():
        if _normal(str(key)) == server:
            return str(helper)
    return str(document.get("credsStore") or "")


def _from_helpers(document: dict[str, Any], server: str) -> Credentials | None:
    helper = _helper_of(document, server)
    if not helper:
        return None
    try:
        answer = jsontext.loads(_call(helper, "get", _key(server)))
    except HostError as error:
        if "not found" in error.message:
            return None
        raise
    except ValueError:
        raise HostError(f"docker-credential-{helper} answered what is not JSON") from None
    name, secret = str(answer.get("Username") or ""), str(answer.get("Secret") or "")
    if name == "<token>":
        return Credentials(identity_token=secret)
    return Credentials(name, secret)


def _call(helper: str, verb: str, text: str) -> str:
    """docker's protocol of helpers: words in on standard input, JSON out. Raises HostError with what the helper says."""
    import subprocess

    program = f"docker-credential-{helper}"
    if "/" in helper:
        raise HostError(f"the name of a credential helper holds a slash: {helper}")
    try:
        done = subprocess.run([program, verb], input=text, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"{program} can't be run: {error}", hint="install it, or take it out of docker's config.json") from error
    if done.returncode:
        raise HostError(f"{program}: {(done.stdout or done.stderr).strip()}")
    return done.stdout

"""Git URLs as contexts and as sources of ADD: both of BuildKit's syntaxes, cloned by the host's git.

https://host/repo.git#ref:subdir    git@host:repo    git://…    ssh://…
https://host/repo.git?ref=…&subdir=…&checksum=…&submodules=…&keep-git-dir=…
"""

from __future__ import annotations

import os
import re

from wherry.errors import BuildError, HostError
from wherry.model.record import Record

_SCP = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+:[^:]")
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")


class Remote(Record):
    url: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    keep: bool = False
    submodules: bool = True


def is_remote(source: str) -> bool:
    """Whether a source of ADD lies elsewhere: a URL or a repository."""
    return source.startswith(("http://", "https://")) or is_git(source)


def is_git(text: str) -> bool:
    """Whether a source or a context is a Git repository: by its scheme, or an HTTP URL whose path ends in .git."""
    if text.startswith(("git://", "ssh://", "git@")) or _SCP.match(text):
        return True
    if text.startswith(("http://", "https://")):
        return text.partition("?")[0].partition("#")[0].rstrip("/").endswith(".git")
    return text.startswith("github.com/")


def parse(text: str) -> Remote:
    """Raises BuildError."""
    import urllib.parse

    if text.startswith("github.com/"):
        text = "https://" + text
    url, _, fragment = text.partition("#")
    ref, _, subdir = fragment.partition(":")
    url, _, query = url.partition("?")
    found = Remote(url, ref, subdir)
    for key, value in urllib.parse.parse_qsl(query, keep_blank_values=True):
        if key in ("ref", "tag", "branch"):
            found = found.replace(ref={"ref": value, "tag": f"refs/tags/{value}", "branch": f"refs/heads/{value}"}[key])
        elif key == "subdir":
            found = found.replace(subdir=value)
        elif key in ("checksum", "commit"):
            found = found.replace(checksum=value)
        elif key == "keep-git-dir":
            found = found.replace(keep=value.lower() not in ("0", "false"))
        elif key == "submodules":
            found = found.replace(submodules=value.lower() not in ("0", "false"))
        else:
            raise BuildError(f'unexpected query "{key}" in Git URL {text}')
    if found.url.startswith("-") or found.ref.startswith("-"):
        raise BuildError(f"invalid Git URL {text}")
    if ".." in found.subdir.split("/"):
        raise BuildError(f"invalid subdir in Git URL {text}: it leads out of the repository")
    return found


def clone(remote: Remote, folder: str, *, keep: bool, checksum: str) -> tuple[str, int]:
    """Fetch one commit and check it out; the commit and its time in seconds since 1970. Raises BuildError, HostError."""
    import shutil

    if shutil.which("git") is None:
        raise HostError(f"{remote.url} needs git, which is not installed", hint="install git, or give a folder or an archive")
    os.makedirs(folder)
    _git(folder, "init", "-q")
    _git(folder, "remote", "add", "origin", remote.url)
    wanted = remote.ref or "HEAD"
    try:
        _git(folder, "fetch", "-q", "--depth=1", "origin", wanted)
    except BuildError:
        if not re.fullmatch("[0-9a-f]{7,40}", wanted):
            raise
        # A short commit can't be asked for: all is fetched and it is looked up here.
        _git(folder, "fetch", "-q", "origin")
        _git(folder, "checkout", "-q", wanted)
    else:
        _git(folder, "checkout", "-q", "FETCH_HEAD")
    commit, _, seconds = _git(folder, "log", "-1", "--format=%H %ct").strip().partition(" ")
    if checksum and not commit.startswith(checksum.lower()):
        raise BuildError(f"expected checksum to match {checksum}, got {commit}")
    if remote.submodules and os.path.exists(f"{folder}/.gitmodules"):
        _git(folder, "submodule", "update", "-q", "--init", "--recursive", "--depth=1")
    if not keep:
        shutil.rmtree(f"{folder}/.git")
    if remote.subdir and not os.path.isdir(f"{folder}/{remote.subdir.strip('/')}"):
        raise BuildError(f"subdir {remote.subdir} is not in {remote.url}")
    return commit, int(seconds)


def _git(folder: str, *words: str) -> str:
    import subprocess

    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}
    environment.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    safe = ("-c", "protocol.file.allow=user", "-c", "core.hooksPath=/dev/null")
    done = subprocess.run(["git", *safe, *words], cwd=folder, env=environment, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise BuildError(f"git {words[0]} failed: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout

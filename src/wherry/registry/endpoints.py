"""From a name to the registries that may have it: registries.conf v2 (containers), daemon.json (docker), docker's rules.

`docker.io` lives at registry-1.docker.io. Loopback addresses and what is configured insecure are tried over HTTPS without checking
the certificate, then over plain HTTP; all others over checked HTTPS only.
"""

from __future__ import annotations

import os

from wherry.errors import HostError, RegistryError
from wherry.model.record import Record
from wherry.registry import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.model.reference import Reference

DOCKER_HUB = "registry-1.docker.io"


class Endpoint(Record):
    """A place to ask for a repository: `host` with its port, `path` there. `login` is the name that credentials are kept under.

    `insecure`: a wrong certificate and plain HTTP are accepted. `mirror`: it may lack what is asked for.
    """

    host: str
    path: str
    login: str
    insecure: bool = False
    mirror: bool = False
    plain: bool = False


class Settings:
    """What the configuration files say about registries. Raises HostError for files that can't be read."""

    def __init__(self, registries: list[dict[str, Any]], aliases: dict[str, str], daemon: dict[str, Any], source: str) -> None:
        self._registries = registries
        self._aliases = aliases
        self._mirrors = [str(m) for m in daemon.get("registry-mirrors") or ()]
        self._insecure = [str(r) for r in daemon.get("insecure-registries") or ()]
        self._source = source

    def alias(self, name: str) -> str:
        """What a short name stands for, "" when no file gives it a meaning of its own."""
        return self._aliases.get(name, "")

    def pull_from(self, reference: Reference, tls_verify: bool | None = None) -> list[Endpoint]:
        """Mirrors in their order, then the registry itself. Raises RegistryError for one that is blocked."""
        table = self._table(reference)
        by_digest = bool(reference.digest)
        found = []
        for mirror in table.get("mirror") or ():
            wanted = mirror.get("pull-from-mirror") or ("digest-only" if table.get("mirror-by-digest-only") else "all")
            if wanted == "all" or (wanted == "digest-only") == by_digest:
                found.append(self._rewritten(reference, table, str(mirror.get("location", "")), bool(mirror.get("insecure")), mirror=True))
        if reference.domain == "docker.io":
            found += [self._hub_mirror(url, reference) for url in self._mirrors]
        found.append(self._own(reference, table))
        return [self._decided(e, tls_verify) for e in found]

    def push_to(self, reference: Reference, tls_verify: bool | None = None) -> Endpoint:
        return self._decided(self._own(reference, self._table(reference)), tls_verify)

    def of_server(self, server: str, tls_verify: bool | None = None) -> Endpoint:
        """The registry of a `login`: a host name with or without port, or docker.io."""
        host = DOCKER_HUB if server in ("docker.io", "index.docker.io") else server
        return self._decided(Endpoint(host, "", "docker.io" if host == DOCKER_HUB else server), tls_verify)

    def _decided(self, endpoint: Endpoint, tls_verify: bool | None) -> Endpoint:
        if tls_verify is not None:
            return endpoint.replace(insecure=not tls_verify)
        return endpoint.replace(insecure=endpoint.insecure or is_loopback(endpoint.host) or self._is_insecure(endpoint.host))

    def _is_insecure(self, host: str) -> bool:
        name = host_name(host)
        for entry in self._insecure:
            if entry in (host, name) or "/" in entry and _in_network(name, entry):
                return True
        return any(r.get("insecure") and str(r.get("location") or r.get("prefix")) == host for r in self._registries)

    def _table(self, reference: Reference) -> dict[str, Any]:
        name = reference.canonical
        best: dict[str, Any] = {}
        length = -1
        for table in self._registries:
            prefix = str(table.get("prefix") or table.get("location") or "")
            if len(prefix) > length and _has_prefix(name, prefix):
                best, length = table, len(prefix)
        if best.get("blocked"):
            raise RegistryError(f"registry {best.get('prefix') or best.get('location')} is blocked in {self._source}")
        return best

    def _own(self, reference: Reference, table: dict[str, Any]) -> Endpoint:
        location = str(table.get("location") or "")
        if location and location != str(table.get("prefix") or location):
            return self._rewritten(reference, table, location, bool(table.get("insecure")), mirror=False)
        host = DOCKER_HUB if reference.domain == "docker.io" else reference.domain
        return Endpoint(host, reference.path, reference.domain, bool(table.get("insecure")))

    def _rewritten(self, reference: Reference, table: dict[str, Any], location: str, insecure: bool, *, mirror: bool) -> Endpoint:
        prefix = str(table.get("prefix") or table.get("location"))
        name = reference.repository
        rest = name[name.index("/") :] if prefix.startswith("*.") else name[len(prefix) :]
        host, _, path = (location + rest).partition("/")
        if not path:
            raise HostError(f"{self._source}: the location {location!r} leaves no repository of {name}")
        return Endpoint(DOCKER_HUB if host == "docker.io" else host, path, host, insecure, mirror)

    def _hub_mirror(self, url: str, reference: Reference) -> Endpoint:
        scheme, _, rest = url.rpartition("://")
        host, _, prefix = rest.strip("/").partition("/")
        path = f"{prefix}/{reference.path}" if prefix else reference.path
        return Endpoint(host, path, host, scheme == "http", True, scheme == "http")


def _has_prefix(name: str, prefix: str) -> bool:
    if prefix.startswith("*."):
        return name.partition("/")[0].partition(":")[0].endswith(prefix[1:])
    return bool(prefix) and (name == prefix or name.startswith(prefix) and name[len(prefix)] in "/:@")


def host_name(host: str) -> str:
    """A host without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def is_loopback(host: str) -> bool:
    import ipaddress

    name = host_name(host)
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _in_network(name: str, network: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(name) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def load() -> Settings:
    """The machine's and the user's configuration. CONTAINERS_REGISTRIES_CONF names a file that takes the place of both."""
    named = os.environ.get("CONTAINERS_REGISTRIES_CONF", "")
    own = files.config_home() + "/containers/registries.conf"
    base = named or (own if os.path.exists(own) else "/etc/containers/registries.conf")
    names = [base]
    if not named:
        names += [*_drop_ins("/etc/containers/registries.conf.d"), *_drop_ins(own + ".d")]
    registries: dict[str, dict[str, Any]] = {}
    aliases: dict[str, str] = {}
    for path in names:
        document = files.read_toml(path)
        for table in document.get("registry") or ():
            registries[str(table.get("prefix") or table.get("location"))] = table
        # The distributions' list of short names would turn docker's `fedora` into another registry's: docker's rule wins.
        if not path.endswith("shortnames.conf"):
            aliases.update({str(k): str(v) for k, v in (document.get("aliases") or {}).items()})
    return Settings(list(registries.values()), aliases, files.read_json(_daemon_file()), base)


def _daemon_file() -> str:
    own = files.config_home() + "/docker/daemon.json"
    return own if os.geteuid() != 0 and os.path.exists(own) else "/etc/docker/daemon.json"


def _drop_ins(folder: str) -> list[str]:
    try:
        return [f"{folder}/{name}" for name in sorted(os.listdir(folder)) if name.endswith(".conf")]
    except OSError:
        return []

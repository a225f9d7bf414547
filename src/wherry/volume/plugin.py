"""docker's volume plugin protocol, as its client (docs.docker.com/engine/extend/plugins_volume): JSON over HTTP on a socket.

A plugin is found by its name: NAME.sock or NAME/NAME.sock in a folder of sockets, NAME.spec (a URL) or NAME.json ({"Addr": URL}) in a
folder of descriptions. It mounts on the host, or wherever it lives; a container gets a bind of the path that it tells. Each start of a
container is a Mount with the container's id, each end an Unmount: done by `stop` and an attached `run`, else by the next command that
looks at the volume (`reconcile`).
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import urllib.parse

from wherry.errors import HostError, NotFound, WherryError
from wherry.store import actual, containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.model.mounts import MountSpec
    from wherry.store import Store
    from wherry.store.volumes import VolumeRow

_TYPE = "application/vnd.docker.plugins.v1.2+json"
# A plugin may have to wait for another machine.
_TIMEOUT_S = 120.0


def find(name: str) -> Plugin | None:
    """The plugin of that name, if it is described or has its socket somewhere."""
    if not name or "/" in name or name.startswith("."):
        return None
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    settings = os.environ.get("XDG_CONFIG_HOME") or os.environ.get("HOME", "") + "/.config"
    sockets = ["/run/docker/plugins", *([runtime + "/docker/plugins"] if runtime.startswith("/") else [])]
    described = ["/etc/docker/plugins", "/usr/lib/docker/plugins", *([settings + "/docker/plugins"] if settings.startswith("/") else [])]
    for folder in sockets:
        for path in (f"{folder}/{name}.sock", f"{folder}/{name}/{name}.sock"):
            if os.path.exists(path):
                return Plugin(name, "unix://" + path)
    for folder in described:
        for path in (f"{folder}/{name}.spec", f"{folder}/{name}.json"):
            try:
                with open(path, encoding="utf-8") as file:
                    text = file.read().strip()
                return Plugin(name, str(json.loads(text)["Addr"]) if path.endswith(".json") else text)
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError) as error:
                raise HostError(f"the description {path} of a volume plugin can't be understood: {error}") from error
    return None


class _Socket(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("plugin", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Plugin:
    """A volume driver (volume/drivers.py) that is a plugin of docker's."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self._address = address

    def _connection(self) -> http.client.HTTPConnection:
        url = urllib.parse.urlsplit(self._address)
        if url.scheme == "unix" or not url.scheme:
            return _Socket(url.path or self._address)
        if url.scheme in ("tcp", "http") and url.netloc:
            return http.client.HTTPConnection(url.netloc, timeout=_TIMEOUT_S)
        raise HostError(f"volume plugin {self.name}: its address {self._address} is neither unix:// nor tcp://")

    def call(self, method: str, words: dict[str, Any]) -> dict[str, Any]:
        """Raises HostError when the plugin doesn't answer, WherryError with its own words when it refuses."""
        connection = self._connection()
        try:
            connection.request("POST", "/" + method, json.dumps(words).encode(), {"Accept": _TYPE, "Content-Type": _TYPE})
            answer = connection.getresponse()
            text = answer.read()
            found = json.loads(text or b"{}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise HostError(f"volume plugin {self.name} at {self._address} doesn't answer: {error}", hint="start the plugin") from error
        finally:
            connection.close()
        if not isinstance(found, dict):
            found = {}
        if found.get("Err") or answer.status != 200:
            raise WherryError(f"{method}: {found.get('Err') or answer.status}")
        return found

    # -- what a driver does ----------------------------------------------------------------------------------------------

    def check(self, name: str, options: dict[str, str]) -> None:
        if "VolumeDriver" not in (self.call("Plugin.Activate", {}).get("Implements") or ()):
            raise NotFound(f"create {name}: plugin {self.name} is no volume driver")

    def prepare(self, store: Store, name: str, options: dict[str, str]) -> dict[str, Any]:
        self._create(name, options)
        return {"plugin": self.name}

    def _create(self, name: str, options: dict[str, str]) -> None:
        self.call("VolumeDriver.Create", {"Name": name, "Opts": options})

    def locate(self, store: Store, container_id: str, row: VolumeRow, mount: MountSpec) -> MountSpec:
        self.reconcile(store, row)
        try:
            place = str(self.call("VolumeDriver.Mount", {"Name": row.name, "ID": container_id}).get("Mountpoint") or "")
        except HostError:
            raise
        except WherryError:
            # Many plugins forget their volumes when they are started again; what the volume was made with is ours to remember.
            self._create(row.name, row.options())
            place = str(self.call("VolumeDriver.Mount", {"Name": row.name, "ID": container_id}).get("Mountpoint") or "")
        if not place.startswith("/") or not os.path.isdir(place):
            raise HostError(
                f"error while mounting volume '{row.name}': plugin {self.name} mounted it at {place!r}, which is no folder here"
            )
        folder = store.run_path("volumes", row.name, "mounted")
        os.makedirs(folder, 0o700, exist_ok=True)
        with open(f"{folder}/{container_id}", "w", encoding="ascii"):
            pass
        return mount.replace(source=place)

    def reconcile(self, store: Store, row: VolumeRow) -> None:
        """Unmount for the containers that have ended."""
        folder = store.run_path("volumes", row.name, "mounted")
        try:
            ids = os.listdir(folder)
        except FileNotFoundError:
            return
        for container_id in ids:
            try:
                if actual.read(store, containers.find(store.db, container_id)).alive:
                    continue
            except NotFound:
                pass
            try:
                self.call("VolumeDriver.Unmount", {"Name": row.name, "ID": container_id})
            except HostError:
                return  # it is away, and so are its mounts
            except WherryError:
                pass  # it doesn't know that mount any more
            os.unlink(f"{folder}/{container_id}")

    def settle(self, store: Store, row: VolumeRow) -> list[list[Any]]:
        self.reconcile(store, row)
        return []

    def inspect(self, store: Store, row: VolumeRow) -> dict[str, Any]:
        try:
            self.reconcile(store, row)
            found = self.call("VolumeDriver.Get", {"Name": row.name}).get("Volume") or {}
        except WherryError as error:
            return {"Plugin": self._address, "LastError": error.message}
        return {"Plugin": self._address, "PluginMountpoint": found.get("Mountpoint") or "", "Status": found.get("Status") or {}}

    def removed(self, store: Store, row: VolumeRow) -> None:
        self.reconcile(store, row)
        self.call("VolumeDriver.Remove", {"Name": row.name})

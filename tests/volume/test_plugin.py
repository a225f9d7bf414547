"""docker's volume plugins: a small one of our own, on a socket, by a description."""

from __future__ import annotations

import json
import os
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from support.engine import Wherry


class Plugin(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path, base: Path, owner: tuple[int, int]) -> None:
        self.base, self.owner = base, owner
        self.volumes: dict[str, dict[str, str]] = {}
        self.mounts: set[tuple[str, str]] = set()
        self.asked: list[str] = []
        super().__init__(str(path), _Handler)
        os.chmod(path, 0o666)

    def answer(self, method: str, words: dict[str, object]) -> dict[str, object]:
        self.asked.append(method)
        name = str(words.get("Name") or "")
        if method == "Plugin.Activate":
            return {"Implements": ["VolumeDriver"]}
        if method == "VolumeDriver.Create":
            if (words.get("Opts") or {}) == {"bad": "1"}:
                return {"Err": "no such option: bad"}
            self.volumes[name] = dict(words.get("Opts") or {})  # type: ignore[call-overload]
            (self.base / name).mkdir(exist_ok=True)
            os.chown(self.base / name, *self.owner)
            return {"Err": ""}
        if name not in self.volumes:
            return {"Err": f"volume {name} not found"}
        place = str(self.base / name)
        if method == "VolumeDriver.Mount":
            self.mounts.add((name, str(words["ID"])))
            return {"Mountpoint": place}
        if method == "VolumeDriver.Unmount":
            self.mounts.discard((name, str(words["ID"])))
        elif method == "VolumeDriver.Get":
            return {"Volume": {"Name": name, "Mountpoint": place, "Status": {"of": "the plugin"}}}
        elif method == "VolumeDriver.Remove":
            del self.volumes[name]
        return {"Err": ""}


class _Handler(BaseHTTPRequestHandler):
    server: Plugin

    def address_string(self) -> str:
        return "a socket"

    def log_message(self, *_words: object) -> None:
        return

    def do_POST(self) -> None:
        words = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        body = json.dumps(self.server.answer(self.path.lstrip("/"), words)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def plugin(w: Wherry) -> Iterator[Plugin]:
    folder = w.folder("plugin")
    described = folder / "config/docker/plugins"
    described.mkdir(parents=True)
    (described / "mine.spec").write_text(f"unix://{folder}/p.sock")
    for path in (folder / "config", *(folder / "config").rglob("*")):
        os.chmod(path, 0o755)
    found = Plugin(folder / "p.sock", folder, (w.user.uid, w.user.gid))
    w.env["XDG_CONFIG_HOME"] = str(folder / "config")
    thread = threading.Thread(target=found.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield found
    w.forget_all()
    del w.env["XDG_CONFIG_HOME"]
    found.shutdown()
    found.server_close()


def test_a_plugin_of_dockers(w: Wherry, plugin: Plugin) -> None:
    done = w("volume", "create", "-d", "mine", "-o", "bad=1", "vol")
    assert done.returncode == 1 and "no such option: bad" in done.stderr
    w.ok("volume", "create", "-d", "mine", "-o", "size=1g", "vol")
    assert plugin.volumes == {"vol": {"size": "1g"}}
    ident = w.ok("run", "-d", "--name", "cc", "-v", "vol:/d", "busybox", "sh", "-c", "echo x > /d/x; sleep 100")
    w.until(lambda: (plugin.base / "vol/x").exists())
    assert plugin.mounts == {("vol", ident)}
    assert json.loads(w.ok("volume", "inspect", "vol"))[0]["Wherry"]["Status"] == {"of": "the plugin"}
    assert w("volume", "rm", "vol").returncode == 1 and "VolumeDriver.Remove" not in plugin.asked
    w.ok("stop", "-t", "0", "cc")
    assert plugin.mounts == set()
    # A plugin that was started again knows nothing: what the volume was made with is told to it once more.
    plugin.volumes.clear()
    assert w.ok("run", "--rm", "--mount", "src=vol,dst=/d,volume-driver=mine", "busybox", "cat", "/d/x") == "x"
    assert plugin.volumes == {"vol": {"size": "1g"}} and plugin.mounts == set()
    w.ok("rm", "cc")
    w.ok("volume", "rm", "vol")
    assert plugin.volumes == {} and w.check() == ""
    assert w.ok("run", "--rm", "--volume-driver", "mine", "-v", "other:/d", "busybox", "ls", "/d") == ""
    assert list(plugin.volumes) == ["other"]

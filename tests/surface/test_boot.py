"""`system boot`, its unit, and `spec`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess

import pytest

from support.engine import Wherry
from support.place import SHARED


def test_what_should_be_up_is_started(w: Wherry) -> None:
    for policy in ("always", "unless-stopped", "on-failure", "no"):
        w.ok("run", "-d", "--name", f"up-{policy}", "--restart", policy, "busybox", "sleep", "100")
        w.ok("run", "-d", "--name", f"stopped-{policy}", "--restart", policy, "busybox", "sleep", "100")
        w.ok("create", "--name", f"made-{policy}", "--restart", policy, "busybox", "sleep", "100")
        w.ok("stop", "-t", "0", f"stopped-{policy}")
    w.ok("run", "-d", "--name", "joins", "--restart", "always", "--pid", "container:up-always", "busybox", "sleep", "100")
    running = w.ok("ps", "-q").split()
    for line in w.ok("inspect", "-f", "{{.Wherry.MonitorPid}} {{.State.Pid}}", *running).splitlines():
        monitor = int(line.split()[0])
        os.kill(monitor, signal.SIGKILL)
    w.until(lambda: w.ok("ps", "-q") == "")
    assert sorted(w.ok("system", "boot").split()) == ["joins", "stopped-always", "up-always", "up-on-failure", "up-unless-stopped"]
    assert w.ok("system", "boot") == ""
    assert len(w.ok("ps", "-q").split()) == 5


def test_the_unit(w: Wherry) -> None:
    unit = w.ok("system", "unit")
    assert f"ExecStart={w.command} --root {w.root} --runroot {w.runroot} system boot" in unit
    assert ("WantedBy=multi-user.target" in unit) == w.is_root
    if w.is_root and shutil.which("systemd-analyze"):
        path = w.file("wherry-test.service", unit)
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True)
        assert "wherry-test.service" not in done.stderr, done.stderr


def test_spec(w: Wherry) -> None:
    flags = ["-v", "/tmp:/host:ro", "-e", "A=b", "--hostname", "hull", "--pids-limit", "5", "--cap-drop", "ALL", "--ulimit", "nofile=7:8"]
    found = json.loads(w.ok("spec", *flags, "busybox", "echo", "hi"))
    assert found["process"]["args"] == ["echo", "hi"] and "A=b" in found["process"]["env"] and found["hostname"] == "hull"
    assert any(m["destination"] == "/host" and m["source"] == "/tmp" for m in found["mounts"])
    w.ok("create", "--name", "made", *flags, "busybox", "echo", "hi")
    again = json.loads(w.ok("spec", "--container", "made"))
    assert again["process"] == found["process"] or again["hostname"] == "hull"
    assert w.ids() and len(w.ids()) == 1
    schemas = SHARED / "data/oci/runtime-spec"
    if not schemas.is_dir():
        pytest.skip(f"no schema at {schemas} (WHERRY_SHARED names the place of the reference data)")
    jsonschema = pytest.importorskip("jsonschema")
    referencing = pytest.importorskip("referencing")
    resources = {
        p.name: referencing.Resource.from_contents(json.loads(p.read_text()), referencing.jsonschema.DRAFT4) for p in schemas.glob("*.json")
    }
    registry = referencing.Registry().with_resources(resources.items())
    schema = json.loads((schemas / "config-schema.json").read_text())
    jsonschema.Draft4Validator(schema, registry=registry).validate(found)

"""Devices by the Container Device Interface, with a made-up vendor."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engine import Wherry


@pytest.fixture
def kind(w_root: Wherry) -> Iterator[str]:
    """A kind of devices that no other test has; its spec is removed afterwards."""
    name = f"wherry-test{os.getpid()}"
    shared = w_root.file("lib.txt", "of the vendor\n")
    spec = {
        "cdiVersion": "0.6.0",
        "kind": f"{name}.example/engine",
        "containerEdits": {"env": ["ENGINE=all"]},
        "devices": [
            {
                "name": "one",
                "containerEdits": {
                    "env": ["ONE=1"],
                    "deviceNodes": [{"path": "/dev/engine0", "hostPath": "/dev/zero"}],
                    "mounts": [{"hostPath": str(shared), "containerPath": "/opt/lib.txt", "options": ["ro", "nosuid", "rbind"]}],
                },
            }
        ],
    }
    folder = Path("/run/cdi")
    made = not folder.exists()
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(spec))
    yield str(spec["kind"])
    path.unlink()
    if made and not any(folder.iterdir()):
        folder.rmdir()


def test_a_device_by_its_name(w_root: Wherry, kind: str) -> None:
    script = "echo $ENGINE $ONE; head -c 3 /dev/engine0 | wc -c; cat /opt/lib.txt; touch /opt/lib.txt 2>&1 | grep -c Read-only"
    out = w_root.ok("run", "--rm", "--device", f"{kind}=one", "busybox", "sh", "-c", script)
    assert out.splitlines() == ["all 1", "3", "of the vendor", "1"]
    w_root.ok("create", "--name", "box", "--device", f"{kind}=one", "busybox")
    requests = json.loads(w_root.ok("inspect", "-f", "{{json .HostConfig.DeviceRequests}}", "box"))
    assert requests[0]["Driver"] == "cdi" and requests[0]["DeviceIDs"] == [f"{kind}=one"]


def test_devices_that_there_are_not(w_root: Wherry, kind: str) -> None:
    done = w_root("run", "--rm", "--device", f"{kind}=two", "busybox", "true")
    assert done.returncode == 125 and f"unresolvable CDI devices {kind}=two" in done.stderr and "there are one" in done.stderr
    done = w_root("run", "--rm", "--gpus", "all", "busybox", "true")
    assert done.returncode == 125 and "nvidia.com/gpu=all" in done.stderr
    assert "invalid count" in w_root("run", "--rm", "--gpus", "some", "busybox", "true").stderr

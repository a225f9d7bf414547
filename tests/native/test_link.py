"""The link between an ordinary user's networks and the host's, in a world of its own (link_world.py), as root and as a user."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from native.driver import Native
from support.place import CHECKOUT

HERE = Path(__file__).parent
SCENARIOS = re.findall(r"^def (\w+)\(world: World\)", (HERE / "link_scenarios.py").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def python() -> str:
    """One that every user may execute."""
    found = subprocess.run([str(CHECKOUT / "tools/find-python"), "--reachable"], capture_output=True, text=True)
    return found.stdout.strip() or sys.executable


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_link(native: Native, python: str, scenario: str) -> None:
    if native.user.subids or (native.user.uid == 0 and scenario not in ("tcp_out", "published_tcp")):
        pytest.skip("the same as for the user with one id")
    code = native.place / "code"
    for name in ("link_world.py", "link_scenarios.py"):
        (native.place / name).write_text((HERE / name).read_text())
    code.mkdir()
    (code / "support").mkdir()
    (code / "support/__init__.py").touch()
    (code / "support/dns.py").write_text((CHECKOUT / "tests/support/dns.py").read_text())
    options: dict[str, Any] = {"user": native.user.uid, "group": native.user.gid, "extra_groups": []} if native.user.uid else {}
    env = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": f"{native.place}:{code}",
        "WORLD_TMP": str(native.place),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    words = [
        "unshare",
        "-Urnmpf",
        "--mount-proc",
        "--kill-child",
        python,
        str(native.place / "link_world.py"),
        str(native.program),
        scenario,
    ]
    done = subprocess.run(words, env=env, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, **options)
    assert done.stdout.endswith("done\n") and done.returncode == 0, done.stdout + done.stderr

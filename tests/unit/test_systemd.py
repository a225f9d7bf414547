"""The call to systemd's user manager, over a real bus and read by D-Bus's own tools. What systemd makes of it is tested where it runs
(`tests/limits/test_delegated.py`)."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wherry.kernel import systemd

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"""


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if not shutil.which("dbus-daemon") or not shutil.which("dbus-monitor"):
        pytest.skip("no dbus-daemon or dbus-monitor here")
    path = tmp_path / "bus"
    (tmp_path / "config").write_text(CONFIG.format(path=path))
    with subprocess.Popen(
        ["dbus-daemon", f"--config-file={tmp_path}/config", "--nofork", "--nopidfile"], stderr=subprocess.DEVNULL
    ) as daemon:
        end = time.monotonic() + 10
        while not path.exists() and time.monotonic() < end:
            time.sleep(0.01)
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={path},guid=0")
        yield f"unix:path={path}"
        daemon.terminate()


def test_the_call_is_well_formed_and_the_bus_s_no_is_told(bus: str) -> None:
    words = ["dbus-monitor", "--address", bus, "member='StartTransientUnit'"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as monitor:
        assert monitor.stdout is not None
        monitor.stdout.readline()  # it listens
        with pytest.raises(systemd.BusError, match="org.freedesktop.systemd1 was not provided"):
            systemd.start_scope("wherry-1-2.scope", 4321, "containers of wherry")
        lines = []
        for line in monitor.stdout:
            if "StartTransientUnit" in line or lines:
                lines.append(line.strip())
            if len([text for text in lines if text == "]"]) == 3:
                break
        monitor.terminate()
    text = " ".join(" ".join(lines).split())
    assert 'string "wherry-1-2.scope" string "fail" array [ struct { string "Description" variant string "containers of wherry" }' in text
    assert 'struct { string "PIDs" variant array [ uint32 4321 ] }' in text
    assert 'struct { string "Delegate" variant boolean true }' in text
    assert text.endswith('struct { string "CollectMode" variant string "inactive-or-failed" } ] array [ ]'), text


def test_without_a_bus_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert systemd.bus_path() == ""
    with pytest.raises(systemd.BusError, match="no bus of this user"):
        systemd.start_scope("x.scope", 1, "x")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path}/nobody")
    with pytest.raises(systemd.BusError, match="No such file"):
        systemd.start_scope("x.scope", 1, "x")


def test_a_logout_that_would_end_a_container_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wherry.engine import Engine, limits
    from wherry.kernel import cgroup, userns

    (tmp_path / "linger").mkdir()
    monkeypatch.setattr(limits, "_LINGER", f"{tmp_path}/linger")
    monkeypatch.setattr(userns, "user_name", lambda _uid: "alice")
    said: list[str] = []
    with Engine(f"{tmp_path}/store", f"{tmp_path}/run", on_warning=said.append) as engine:
        monkeypatch.setattr(cgroup, "inside_of_delegated", lambda: False)
        limits.warn_of_logout(engine)
        assert said == []
        monkeypatch.setattr(cgroup, "inside_of_delegated", lambda: True)
        (tmp_path / "linger/alice").touch()
        limits.warn_of_logout(engine)
        assert said == []
        (tmp_path / "linger/alice").unlink()
        limits.warn_of_logout(engine)
        limits.warn_of_logout(engine)
    assert len(said) == 1 and "loginctl enable-linger alice" in said[0]

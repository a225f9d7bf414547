"""Health checks: docker's states, log and words, kept by the monitor."""

from __future__ import annotations

import json
import time
from typing import Any

from support.engine import Wherry

QUICK = ("--health-interval", "100ms", "--health-retries", "2")


def health(w: Wherry, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(w.ok("inspect", "-f", "{{json .State.Health}}", name))
    return found


def test_from_starting_over_unhealthy_to_healthy(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "box", *QUICK, "--health-cmd", "echo looked; test -e /tmp/good", "busybox", "sleep", "100")
    assert w.ok("ps", "--format", "{{.Status}}|{{.HealthStatus}}").endswith(" (health: starting)|starting")
    assert w.ok("wait", "--condition", "unhealthy", "box") == "0"
    found = health(w, "box")
    assert found["Status"] == "unhealthy" and found["FailingStreak"] >= 2
    entry = found["Log"][-1]
    assert entry["ExitCode"] == 1 and entry["Output"] == "looked\n" and entry["Start"] < entry["End"]
    assert w.ok("ps", "--filter", "health=unhealthy", "--format", "{{.Status}}").endswith(" (unhealthy)")
    w.ok("exec", "box", "touch", "/tmp/good")
    w.ok("wait", "--condition", "healthy", "box")
    assert health(w, "box")["FailingStreak"] == 0
    assert w.ok("ps", "-q", "--filter", "health=unhealthy") == ""
    w.until(lambda: len(health(w, "box")["Log"]) == 5)
    actions = w.ok("events", "--since", "60s", "--until", "0s", "--filter", "container=box", "--format", "{{.Action}}").splitlines()
    assert [a for a in actions if a.startswith("health")] == ["health_status: unhealthy", "health_status: healthy"]
    w.ok("stop", "-t", "0", "box")
    assert health(w, "box")["Status"] == "unhealthy"  # docker's rule for one that has ended


def test_a_probe_on_demand(w_user: Wherry) -> None:
    w = w_user
    w.ok("run", "-d", "--name", "box", "--health-cmd", "test -e /tmp/good", "busybox", "sleep", "100")
    done = w("healthcheck", "run", "box")
    assert (done.returncode, done.stdout) == (1, "unhealthy\n")
    assert health(w, "box")["FailingStreak"] == 1
    w.ok("exec", "box", "touch", "/tmp/good")
    assert w.ok("healthcheck", "run", "box") == ""
    assert health(w, "box")["Status"] == "healthy"
    w.ok("run", "-d", "--name", "unchecked", "busybox", "sleep", "100")
    assert "has no defined healthcheck" in w("healthcheck", "run", "unchecked").stderr
    assert "is not running" in w("wait", "--condition", "healthy", w.ok("create", "busybox")).stderr


def test_a_probe_that_hangs_is_killed(w_root: Wherry) -> None:
    w = w_root
    command = "sleep 77 & sleep 78"
    w.ok("run", "-d", "--name", "box", *QUICK, "--health-timeout", "200ms", "--health-cmd", command, "busybox", "sleep", "100")
    w.ok("wait", "--condition", "unhealthy", "box")
    entry = health(w, "box")["Log"][0]
    assert entry["ExitCode"] == -1 and entry["Output"] == "Health check exceeded timeout (200ms)"
    # a container whose probe is going on ends at once
    begun = time.monotonic()
    w.ok("rm", "-f", "box")
    assert time.monotonic() - begun < 5


def test_start_period_and_start_interval(w_user: Wherry) -> None:
    w = w_user
    early = ("--health-start-period", "30s", "--health-start-interval", "50ms", "--health-interval", "30s", "--health-retries", "1")
    w.ok("run", "-d", "--name", "box", *early, "--health-cmd", "test -e /tmp/good", "busybox", "sleep", "100")
    w.until(lambda: len(health(w, "box")["Log"]) >= 3)
    found = health(w, "box")
    assert found["Status"] == "starting" and found["FailingStreak"] == 0
    w.ok("exec", "box", "touch", "/tmp/good")
    w.ok("wait", "--condition", "healthy", "box")


def test_what_is_done_on_failure(w_user: Wherry) -> None:
    w = w_user
    failing = (*QUICK, "--health-cmd", "false")
    w.ok("run", "-d", "--name", "again", "--health-on-failure", "restart", *failing, "busybox", "sleep", "100")
    w.ok("run", "-d", "--name", "killed", "--health-on-failure", "kill", *failing, "busybox", "sleep", "100")
    assert w.ok("wait", "killed") == "137"
    w.until(lambda: int(w.ok("inspect", "-f", "{{.RestartCount}}", "again")) >= 1)


def test_an_images_check_and_how_it_is_turned_off(w_user: Wherry, rootfs: str) -> None:
    w = w_user
    change = 'HEALTHCHECK --interval=100ms CMD ["true"]'
    w.ok("import", "-c", change, "-c", 'CMD ["sleep", "100"]', rootfs, "checked")
    try:
        w.ok("run", "-d", "--name", "on", "checked")
        w.ok("wait", "--condition", "healthy", "on")
        w.ok("run", "-d", "--name", "off", "--no-healthcheck", "checked")
        assert w.ok("inspect", "-f", "{{json .Config.Healthcheck.Test}}", "off") == '["NONE"]'
        assert w.ok("ps", "--filter", "name=off", "--format", "{{.HealthStatus}}") == ""
        done = w("run", "--no-healthcheck", "--health-cmd", "true", "checked")
        assert done.returncode == 125 and "--no-healthcheck conflicts with --health-* options" in done.stderr
        assert "cannot be less than 1ms" in w("create", "--health-cmd", "true", "--health-interval", "1us", "checked").stderr
    finally:
        w.forget_all()
        w("rmi", "checked")

"""Health checks: what a container's config says of them, the plan of their probe, what `inspect` and `ps` show of the results.

The rules are docker's (moby, daemon/health.go); native/health.c keeps them. Loaded only for containers that have a check.
"""

from __future__ import annotations

import os

from wherry.engine import merge
from wherry.errors import Conflict, InvalidArgument, NotFound
from wherry.kernel import userns
from wherry.model import names
from wherry.runtime import compile, spec, wire
from wherry.runtime.compile import ExecLaunch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.engine import Engine
    from wherry.runtime.spec import SpecContext
    from wherry.store import Store
    from wherry.store.actual import Actual
    from wherry.store.containers import ContainerRow

_MS = 1_000_000
ACTIONS = ("none", "kill", "restart", "stop")


def words(config: dict[str, Any]) -> list[str]:
    """The probe's argv; [] where there is no check. Raises InvalidArgument."""
    check = config.get("Healthcheck") or {}
    test = check.get("Test") or ["NONE"]
    if test[0] == "NONE":
        return []
    if test[0] == "CMD-SHELL":
        return [*(config.get("Shell") or ("/bin/sh", "-c")), " ".join(test[1:])]
    if test[0] == "CMD" and len(test) > 1:
        return list(test[1:])
    raise InvalidArgument(f"health check: the test {test!r} is none", hint='it begins with "CMD", "CMD-SHELL" or "NONE"')


def settings(config: dict[str, Any], host: dict[str, Any]) -> tuple[int, ...]:
    """The monitor's numbers (HEALTH of the plan); () where there is no check."""
    if not words(config):
        return ()
    check = config["Healthcheck"]

    def ms(key: str, default_s: int) -> int:
        return max(1, int(check.get(key) or default_s * 1_000_000_000) // _MS)

    period = int(check.get("StartPeriod") or 0) // _MS
    action = ACTIONS.index((host.get("HealthOnFailure") or "none").lower())
    return (ms("Interval", 30), ms("Timeout", 30), int(check.get("Retries") or 0) or 3, period, ms("StartInterval", 5), action)


def checked(config: dict[str, Any]) -> None:
    """Raises InvalidArgument with docker's words (moby, daemon/container.go, validateHealthCheck)."""
    check = config.get("Healthcheck")
    if not check:
        return
    words(config)
    for key in ("Interval", "Timeout", "StartPeriod", "StartInterval"):
        if check.get(key) and int(check[key]) < _MS:
            raise InvalidArgument(f"{key} in Healthcheck cannot be less than 1ms")
    if int(check.get("Retries") or 0) < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")


def write_plan(store: Store, row: ContainerRow, record: dict[str, Any], context: SpecContext) -> None:
    """<run>/<id>/health: what the monitor performs for each probe. It fills in which process to join."""
    config, host = record["Config"], record["HostConfig"]
    process = spec.make_process(config | {"Tty": False}, host, context.replace(args=tuple(words(config)), env=_env(config)))
    plan = compile.exec_plan(
        process,
        ExecLaunch(
            id=names.new_id(),
            container_id=row.id,
            run_folder=store.run_path(row.id),
            state_folder=store.path("containers", row.id),
            record=record,
            pid=0,
            pid_start=0,
            monitor_pid=-1,
            own_user_namespace=True,
            mapping=userns.current(),
            tty=False,
            stdin=False,
            rows=0,
            columns=0,
            cache=store.path("cache"),
        ),
    )
    fd = os.open(store.run_path(row.id, "health"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, plan.encode())
    finally:
        os.close(fd)


def _env(config: dict[str, Any]) -> tuple[str, ...]:
    return tuple(merge.environment(config, config.get("Hostname") or "", tty=False))


def status(store: Store, row: ContainerRow, state: Actual) -> str:
    """starting, healthy or unhealthy; "" where nothing is checked, or never was. One that has ended is unhealthy, by docker's rule."""
    if state.alive:
        return state.health
    return "unhealthy" if os.path.exists(store.path("containers", row.id, "health.log")) else ""


def shown(store: Store, row: ContainerRow, state: Actual) -> dict[str, Any] | None:
    """docker's State.Health."""
    found = status(store, row, state)
    if not found:
        return None
    return {"Status": found, "FailingStreak": state.health_streak, "Log": log(store, row)}


def log(store: Store, row: ContainerRow) -> list[dict[str, Any]]:
    """The last five probes, the oldest first: Start, End, ExitCode, Output."""
    try:
        fd = os.open(store.path("containers", row.id, "health.log"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        data = os.read(fd, 1 << 17)
    finally:
        os.close(fd)
    found = []
    while data:
        head, newline, rest = data.partition(b"\n")
        parts = head.split(b" ")
        if not newline or len(parts) != 4:
            break
        size = int(parts[3])
        output = rest[:size].decode("utf-8", "replace")
        found.append({"Start": parts[0].decode(), "End": parts[1].decode(), "ExitCode": int(parts[2]), "Output": output})
        data = rest[size + 1 :]
    return found


def run(engine: Engine, name: str) -> bool:
    """Probe now; whether it went well. Raises Conflict (not running), NotFound (no check)."""
    from wherry.engine import launch

    row, _state = launch.running(engine.store, name)
    if not words(row.record()["Config"]):
        raise NotFound(f"container {row.id} has no defined healthcheck")
    with wire.Control(engine.store.run_path(row.id)) as control:
        answer = control.ask(wire.HEALTH)
    if not answer:
        raise Conflict(f"container {row.id} is not running")
    return wire.i64(answer, 0) == 0

"""`exec`: another process in a running container."""

from __future__ import annotations

import errno
import os

from wherry.engine import launch, limits, merge
from wherry.errors import Conflict, InvalidArgument, LaunchError, MonitorError
from wherry.kernel import userns
from wherry.model import names
from wherry.runtime import compile, launcher, spec, wire
from wherry.runtime.attach import Session, Streams, parse_detach_keys, window_size
from wherry.runtime.compile import ExecLaunch
from wherry.store import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

    from wherry.engine import Engine
    from wherry.model.container import ExecRequest
    from wherry.runtime.plan import Plan
    from wherry.store.actual import Actual
    from wherry.store.containers import ContainerRow


def execute(engine: Engine, name: str, request: ExecRequest) -> int | None:
    """Run a command in a container; its exit code, or None when detached. Raises Conflict (not running), LaunchError (126, 127)."""
    keys = parse_detach_keys(request.detach_keys)
    row, state = launch.running(engine.store, name)
    if request.tty and request.stdin and not request.detach and not os.isatty(0):
        raise InvalidArgument("cannot attach stdin to a TTY-enabled container because stdin is not a terminal")
    size = window_size(0 if request.stdin else 1) if request.tty and not request.detach else (0, 0)
    plan, pidfile = planned(engine, row, state, request, size)
    if request.detach:
        started(engine, row.id, plan, None, pidfile)
        return None
    ours, theirs = wire.pair()
    with Session(ours, _streams(request, keys), None) as session:
        for text in started(engine, row.id, plan, theirs, pidfile).warnings:
            engine.warn(text)
        try:
            outcome = session.run()
        except MonitorError:
            # The container ended and its processes with it: docker reports 137 then.
            return 137
    return 0 if outcome.detached else outcome.exit_code


def planned(engine: Engine, row: ContainerRow, state: Actual, request: ExecRequest, size: tuple[int, int] = (0, 0)) -> tuple[Plan, str]:
    """The plan of a process in a running container, and the file that will hold its pid. `size`: rows and columns of a terminal."""
    store = engine.store
    record = row.record()
    config, host = record["Config"], record["HostConfig"]
    context = launch.spec_context(store, row, record, {})
    base = merge.environment(config, config.get("Hostname") or "", tty=request.tty)
    process = spec.make_process(
        config | {"User": request.user or config.get("User") or "", "Tty": request.tty},
        host | ({"Privileged": True} if request.privileged else {}),
        context.replace(
            args=tuple(request.cmd),
            env=tuple(merge.overlaid(base, request.env)),
            cwd=request.workdir or config.get("WorkingDir") or "/",
        ),
    )
    exec_id = names.new_id()
    mapping = userns.current()
    obstacle = limits.enter_tree()
    if obstacle:
        engine.warn(f"exec: the process is not within the container's limits: {obstacle}")
    plan = compile.exec_plan(
        process,
        ExecLaunch(
            id=exec_id,
            container_id=row.id,
            run_folder=store.run_path(row.id),
            state_folder=store.path("containers", row.id),
            record=record,
            pid=state.pid,
            pid_start=state.pid_start,
            monitor_pid=state.monitor_pid,
            own_user_namespace=userns.of_process(state.pid) != userns.of_process(os.getpid()),
            mapping=mapping,
            tty=request.tty,
            stdin=request.stdin and not request.detach,
            rows=size[0],
            columns=size[1],
            cache=store.path("cache"),
        ),
    )
    if engine.debug is not None:
        for line in plan.lines():
            engine.debug(line)
    words = " ".join(request.cmd)
    events.container(store, row, f"exec_create: {words}", execID=exec_id)
    events.container(store, row, f"exec_start: {words}", execID=exec_id)
    return plan, store.run_path(row.id, "exec", exec_id)


def started(engine: Engine, container_id: str, plan: Plan, attach: socket | None, pidfile: str) -> launcher.Started:
    """Start the process. A container that ended between our look and the launcher's is one that does not run."""
    try:
        return launcher.start_exec(plan, attach, pidfile)
    except LaunchError as error:
        if error.exit_code == 125:
            launch.running(engine.store, container_id)
        if error.errno == errno.ESRCH:  # and it has been started again since
            raise Conflict(f"container {container_id} is not running") from error
        raise


def _streams(request: ExecRequest, keys: bytes) -> Streams:
    return Streams(stdin=0 if request.stdin else -1, stdout=1, stderr=2, tty=request.tty, sig_proxy=False, detach_keys=keys)

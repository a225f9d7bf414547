"""Starting a container that is in the store: its files, its spec, its plan, its monitor."""

from __future__ import annotations

import errno
import os
import sys

from wherry.engine import limits, merge, modes
from wherry.errors import Conflict, HostError, LaunchError, WherryError
from wherry.kernel import cgroup, process, userns
from wherry.runtime import compile, launcher, spec
from wherry.runtime.compile import Launch
from wherry.store import actual, containers, events, removal
from wherry.store.locks import FolderLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Any

    from wherry.engine import Engine
    from wherry.engine.network_launch import Wiring
    from wherry.model.mounts import MountSpec
    from wherry.runtime.launcher import Started
    from wherry.store import Store
    from wherry.store.actual import Actual
    from wherry.store.containers import ContainerRow


def launch(
    engine: Engine, row: ContainerRow, attach: socket | None, *, size: tuple[int, int] = (0, 0), fresh: bool = False
) -> Started | None:
    """Start `row`; None when it runs already. `fresh`: it was created by this command, wanted to run from the start.

    `attach` is the far end of the first client's socket. Raises LaunchError with docker's exit codes, HostError, Conflict.
    """
    store = engine.store
    with FolderLock(store.path("containers", row.id), f"container: {row.name}"):
        if not fresh:
            state = actual.read(store, row)
            if state.status == "paused":
                raise Conflict("cannot start a paused container, try unpause instead")
            if state.alive:
                return None
            removal.drop_run_folder(store, row.id)
            containers.set_wanted(store.db, row.id, "running")
            _forget_last_exit(store, row.id)
        try:
            return _launch(engine, row, attach, size)
        except WherryError as error:
            _note_failure(store, row, error, created=fresh or row.wanted == "created")
            raise


def _launch(engine: Engine, row: ContainerRow, attach: socket | None, size: tuple[int, int]) -> Started:
    spare = _copy(attach) if attach is not None and engine.store.uid else None
    try:
        return _launch_once(engine, row, attach, size)
    except LaunchError as error:
        # An ordinary user's namespace of networks without the rules that were noted as written: they are forgotten, so write them.
        if not engine.store.uid or error.errno != errno.ENOENT or "the rules of nftables" not in error.message:
            raise
        return _launch_once(engine, row, spare, size)
    finally:
        if spare is not None:
            spare.close()


def _copy(stream: socket) -> socket:
    import _socket

    return _socket.socket(fileno=os.dup(stream.fileno()))


def _launch_once(engine: Engine, row: ContainerRow, attach: socket | None, size: tuple[int, int]) -> Started:
    store = engine.store
    record = row.record()
    joins = joined_processes(store, record["HostConfig"])
    wiring = _wiring(engine, row, record)
    try:
        return _start(engine, row, record, joins, wiring, attach, size)
    except BaseException:
        if wiring is not None:
            network_launch().failed(store, row)
        raise
    finally:
        if wiring is not None:
            wiring.close()


def network_launch() -> Any:
    """The module of starts on networks of ours: those without one are spared it."""
    from wherry.engine import network_launch as found

    return found


def _wiring(engine: Engine, row: ContainerRow, record: dict[str, Any]) -> Wiring | None:
    mode = record["HostConfig"]["NetworkMode"]
    if mode in ("none", "host") or mode.startswith("container:"):
        return None
    return network_launch().prepare(engine, row, record)  # type: ignore[no-any-return]


def _start(
    engine: Engine,
    row: ContainerRow,
    record: dict[str, Any],
    joins: dict[str, tuple[int, int]],
    wiring: Wiring | None,
    attach: socket | None,
    size: tuple[int, int],
) -> Started:
    store = engine.store
    lacking = limits.prepare(record["HostConfig"])
    make_run_folder(store, row.id)
    if not os.path.exists(store.path("containers", row.id, "attrs")):
        events.describe(store, row)  # made by an older wherry, or torn by a power cut
    _write_files(store, row, record, wiring)
    context = spec_context(store, row, record, joins)
    kept = record.get("Secrets") or ()
    files: tuple[tuple[str, str, int, int, int], ...] = ()
    variables: list[str] = []
    if kept:
        from wherry.engine import secrets

        files, variables = secrets.for_launch(store, row.id, kept), secrets.environment(store, row.id, kept)
        context = context.replace(env=(*context.env, *variables))
    mounts = modes.mount_specs(record)
    if any(mount.propagation for mount in mounts):
        from wherry.engine import propagation

        propagation.check(mounts)
    if any(m.type in ("volume", "image") for m in mounts):
        from wherry.engine import volume_launch

        mounts = volume_launch.located(engine, row.id, mounts)
    if "PasswdEntry" in record["Config"] or "GroupEntry" in record["Config"]:
        from wherry.engine import accounts

        mounts += accounts.mounts(store, row, record)
    config, host = record["Config"], record["HostConfig"]
    if host.get("DeviceRequests"):
        from wherry.engine import cdi

        config, host, mounts = cdi.applied(config, host, mounts, engine.warn)
        added = config["Env"][len(record["Config"].get("Env") or ()) :]
        context = context.replace(env=tuple(merge.overlaid(list(context.env), added)))
    oci = spec.make_spec(config, host, mounts, context)
    fresh_overlays(store, row.id, oci)
    health: tuple[int, ...] = ()
    if record["Config"].get("Healthcheck"):
        from wherry.engine import health as checks

        health = checks.settings(record["Config"], record["HostConfig"])
        if health:
            checks.write_plan(store, row, record, context)
    log = record["HostConfig"]["LogConfig"]
    members: tuple[str, ...] = ()
    log_to = None
    if len(log["Config"]) > 2 or log["Type"] not in ("json-file", "none"):
        from wherry.engine import logdrivers

        members, log_to = logdrivers.members(row, record), logdrivers.receiver(row, record)
    plan = compile.container_plan(
        oci,
        Launch(
            id=row.id,
            run_folder=store.run_path(row.id),
            state_folder=store.path("containers", row.id),
            layers=_layers(store, row, record),
            record=record,
            auto_remove=row.auto_remove,
            cleanup=_cleanup_words(store, row.id) if row.auto_remove else (),
            rows=size[0],
            columns=size[1],
            cache=store.path("cache"),
            mapping=userns.current(),
            root_namespace=(wiring.resident if wiring else 0) or _resident(store, mounts),
            joins=joins,
            network=tuple(wiring.steps) if wiring else (),
            resolver=wiring is not None and wiring.resolver,
            secrets=files,
            health=health,
            log_members=members,
            log_to=log_to,
        ),
    )
    if wiring is not None and wiring.descriptor >= 0:
        plan.inherit(wiring.descriptor)
    if engine.debug is not None:
        for line in plan.lines():
            for variable in variables:
                line = line.replace(variable.partition("=")[2], "*****")
            engine.debug(line)
    if wiring is not None and wiring.resolver:
        wiring.announce(store)
    started = launcher.start_container(plan, store.run_path(row.id), attach)
    if wiring is not None:
        wiring.started()
    if record["HostConfig"].get("PidFile"):
        _write_pidfile(record["HostConfig"]["PidFile"], started.pid)
    for text in (*lacking, *spec.not_in_force(record["HostConfig"]), *started.warnings):
        engine.warn(text)
    return started


def _layers(store: Store, row: ContainerRow, record: dict[str, Any]) -> tuple[str, ...]:
    # A layer that an image has twice counts where it is topmost: overlayfs takes none twice.
    found = tuple(store.path("layers", str(n)) for n in dict.fromkeys(row.layer_numbers()))
    return (*found, record["Rootfs"]["Path"]) if "Rootfs" in record else found


def _write_pidfile(path: str, pid: int) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(str(pid))
    except OSError as error:
        raise HostError(f"--pidfile {path}: {os.strerror(error.errno or 0)}") from error


def spec_context(store: Store, row: ContainerRow, record: dict[str, Any], joins: dict[str, tuple[int, int]]) -> spec.SpecContext:
    """What the spec needs to know beside the container's own config."""
    config, host = record["Config"], record["HostConfig"]
    mapping = userns.current()
    start = record.get("IdRange")
    uid_map: tuple[tuple[int, int, int], ...] | None = None
    gid_map: tuple[tuple[int, int, int], ...] | None = None
    if start is not None:
        uid_map = gid_map = ((0, start, 65536),)
    elif mapping.mode != "host" and not modes.uses_host_ids(host):
        # A child of R with the same ids: inside R they are counted from 0 again.
        uid_map, gid_map = _identity(mapping.uids), _identity(mapping.gids)
    hostname = config.get("Hostname") or ""
    folder = store.path("containers", row.id)
    return spec.SpecContext(
        id=row.id,
        hostname=hostname,
        domainname=config.get("Domainname") or "",
        args=tuple(merge.argv(config)),
        env=tuple(merge.environment(config, hostname, tty=bool(config.get("Tty")))),
        cwd=config.get("WorkingDir") or "/",
        rootless=mapping.mode != "host",
        uid_map=None if "user" in joins else uid_map,
        gid_map=None if "user" in joins else gid_map,
        hosts_path=folder + "/hosts",
        hostname_path=folder + "/hostname",
        resolv_path=folder + "/resolv.conf",
        joins=joins,
    )


def fresh_overlays(store: Store, container_id: str, oci: dict[str, Any]) -> None:
    """Empty layers for the mounts with :O. What was written in the last run is thrown away, as podman does."""
    wanted = [
        (path, oci["mounts"][int(key.split(".")[3])]["source"])
        for key, path in oci["annotations"].items()
        if key.startswith("io.wherry.mount.") and key.endswith(".overlay")
    ]
    if not wanted:
        return
    from wherry.store import treeop

    folder = store.path("containers", container_id, "overlays")
    if os.path.exists(folder):
        doomed = store.staging("overlays")
        os.rename(folder, doomed)
        treeop.remove_trees([doomed])
    for path, source in wanted:
        os.makedirs(path + "/upper", 0o755)
        os.mkdir(path + "/work", 0o700)
        try:
            # The folder itself is seen with the upper one's owner and mode.
            found = os.stat(source)
            os.chmod(path + "/upper", found.st_mode & 0o7777)
            os.chown(path + "/upper", found.st_uid, found.st_gid)
        except OSError:
            # A source that is somebody else's can't be copied in this; one that is missing is reported by the launch.
            continue


def _identity(triples: tuple[tuple[int, int, int], ...]) -> tuple[tuple[int, int, int], ...]:
    return tuple((inside, inside, count) for inside, _outside, count in triples)


def joined_processes(store: Store, host: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Namespace → (pid, start) of the container whose one is joined; with `user` for its user namespace.

    Raises Conflict when such a container is not running or two of them have different user namespaces.
    """
    found: dict[str, tuple[int, int]] = {}
    owners: set[str] = set()
    for key, kind in (("NetworkMode", "network"), ("PidMode", "pid"), ("IpcMode", "ipc")):
        mode = host.get(key) or ""
        if not mode.startswith("container:"):
            continue
        other = containers.find(store.db, mode[len("container:") :])
        state = actual.read(store, other)
        if not state.pid or not process.alive(state.pid, state.pid_start):
            raise Conflict(f"cannot join the {kind} namespace of a non running container: container {other.id} is not running")
        found[kind] = (state.pid, state.pid_start)
        owners.add(userns.of_process(state.pid))
        found["user"] = (state.pid, state.pid_start)
    if len(owners) > 1:
        raise Conflict("cannot join namespaces of containers that have different user namespaces", hint="join those of one container")
    if owners and owners == {userns.of_process(os.getpid())}:
        del found["user"]
    return found


def make_run_folder(store: Store, container_id: str) -> None:
    folder = store.run_path(container_id)
    try:
        for path in (folder, folder + "/mnt", folder + "/exec"):
            os.mkdir(path, 0o700)
    except FileExistsError:
        removal.drop_run_folder(store, container_id)
        cgroup.remove(container_id)
        for path in (folder, folder + "/mnt", folder + "/exec"):
            os.mkdir(path, 0o700)
    except OSError as error:
        raise HostError(f"cannot make {folder}: {os.strerror(error.errno or 0)}", hint="name another run root with --runroot") from error


def _write_files(store: Store, row: ContainerRow, record: dict[str, Any], wiring: Wiring | None) -> None:
    from wherry.engine import hostfiles

    hostfiles.write(store, row, record, wiring)


def _cleanup_words(store: Store, container_id: str) -> tuple[str, ...]:
    """What the monitor executes when a `--rm` container ends and nobody is attached to remove it."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = f"import sys; sys.path.insert(0, {package!r}); from wherry.cli.main import main; main()"
    # With -c the words behind it are sys.argv[1:], as for the installed command.
    return (sys.executable, "-I", "-S", "-c", code, "--root", store.root, "--runroot", store.run, "container", "cleanup", container_id)


def _resident(store: Store, mounts: tuple[MountSpec, ...]) -> int:
    """Whose user namespace R the monitor joins: where a mount comes from a process of ours, that one's."""
    holder = next((m.holder for m in mounts if m.holder), "")
    return int(holder.partition(" ")[0]) if holder and userns.current().mode != "host" else a_monitors_pid(store)


def a_monitors_pid(store: Store) -> int:
    """Some living monitor of ours (0: none): an ordinary user's next container joins its user namespace R."""
    if userns.current().mode == "host":
        return 0
    for name in os.listdir(store.run_path("live")):
        pid, _, rest = name.partition(".")
        start = rest.partition(".")[0]
        if pid.isdigit() and start.isdigit() and process.alive(int(pid), int(start)):
            return int(pid)
    return 0


def _forget_last_exit(store: Store, container_id: str) -> None:
    """Without an exit record a container that is wanted to run and has no monitor counts as killed."""
    try:
        os.unlink(store.path("containers", container_id, "exit"))
    except FileNotFoundError:
        return


def _note_failure(store: Store, row: ContainerRow, error: WherryError, *, created: bool) -> None:
    """Leave the container as docker does: created (or exited), with the error and its code in its state."""
    code = error.exit_code if isinstance(error, LaunchError) and error.exit_code in (126, 127) else 128
    folder = store.path("containers", row.id)
    try:
        actual.write_exit(folder, code=code, error=error.message)
        containers.set_wanted(store.db, row.id, "created" if created else "stopped")
        removal.drop_run_folder(store, row.id)
        cgroup.remove(row.id)
    except (OSError, WherryError):
        # The launch's own error is the one to report; the next sweep finishes this.
        return


def running(store: Store, name: str) -> tuple[ContainerRow, Actual]:
    """A container that runs, for commands that need its process. Raises Conflict."""
    row = containers.find(store.db, name)
    state = actual.read(store, row)
    if state.status == "paused":
        raise Conflict(f"Container {row.id} is paused, unpause the container before exec")
    if state.status != "running" or not state.pid:
        raise Conflict(f"container {row.id} is not running")
    return row, state

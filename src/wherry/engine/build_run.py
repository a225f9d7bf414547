"""RUN: a step of a build as a container that the store has no row of; what it writes becomes the layer.

Its folder lies among the containers' with a marker in staging/, like that of a container in the making: when the builder is
killed the next command's sweep ends the process and takes the folder away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import threading
import time

from wherry.engine import hostfiles, launch, limits
from wherry.errors import BuildError, MonitorError
from wherry.kernel import cgroup, process, userns
from wherry.model import jsontext, names
from wherry.model.mounts import MountSpec
from wherry.runtime import compile, launcher, spec, wire
from wherry.store import leases, removal, steps
from wherry.store.containers import ContainerRow
from wherry.store.locks import FolderLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from wherry.build.builder import Builder
    from wherry.build.context import Context
    from wherry.build.mounts import Mount
    from wherry.build.state import RunStep
    from wherry.build.takes import Taken
    from wherry.engine import Engine
    from wherry.engine.build_wishes import RunWishes

HOSTNAME = "buildkitsandbox"
_STUBS = ("/etc/resolv.conf", "/etc/hosts", "/etc/hostname", "/etc/apt/apt.conf.d/99-wherry-one-id")


class StepRunner:
    """Carries RUN steps out for one build. May be used by several threads."""

    def __init__(self, engine: Engine, wishes: RunWishes) -> None:
        self._engine = engine
        self._store = engine.store
        self._wishes = wishes
        self._running: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._stopped = False
        # Gets the step, the layers below it (topmost first) and the tree that it wrote, which it may take.
        self.on_failure: Callable[[RunStep, list[int], str], None] | None = None

    def attach(self, builder: Builder) -> None:
        self._builder = builder

    def kill_all(self) -> None:
        """End every step that runs; none is started from here on."""
        with self._lock:
            self._stopped = True
            for pid, start in self._running.values():
                process.kill(pid, start)

    @contextlib.contextmanager
    def run(self, step: RunStep, layers: list[int], binds: list[Taken], output: Callable[[int, bytes], None]) -> Iterator[str]:
        """Run a step; gives the tree that it wrote. Raises BuildError for an exit code other than 0, LaunchError."""
        store = self._store
        container_id = names.new_id()
        folder = store.path("containers", container_id)
        marker = f"{store.root}/staging/create-{os.getpid()}-{process.start_time(os.getpid())}-{container_id[:12]}"
        os.symlink(container_id, marker)
        try:
            removal.make_folder(store, container_id)
            with FolderLock(folder, "build step"), contextlib.ExitStack() as held:
                self._same_root(layers, folder)
                one = _OneStep(self, step, container_id, held)
                code = one.run(layers, binds, output)
                stubs = [*_STUBS, *one.targets]
                finish = {"do": "finish", "folder": folder, "lowers": self._builder.paths(layers), "stubs": stubs}
                self._builder.worker.do({**finish, "epoch_ns": self._builder.epoch_ns})
                if code:
                    if self.on_failure is not None:
                        self.on_failure(step, layers, folder + "/over/upper")
                    raise BuildError(f'process "{" ".join(step.argv)}" did not complete successfully: exit code: {code}')
                yield folder + "/over/upper"
        finally:
            self._clear(container_id, folder)
            os.unlink(marker)

    def _same_root(self, layers: list[int], folder: str) -> None:
        """An earlier step may have changed the root's own mode or owner."""
        if not layers:
            return
        top = self._store.path("layers", str(layers[0]))
        found = os.stat(top)
        if found.st_mode & 0o7777 != 0o755 or (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
            self._builder.worker.do({"do": "same_root", "like": top, "path": folder + "/over/upper"})

    def _clear(self, container_id: str, folder: str) -> None:
        removal.drop_run_folder(self._store, container_id)
        cgroup.remove(container_id)
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            return
        except OSError:
            # What the step's own users wrote isn't the builder's to remove.
            with self._builder.db_lock:
                removal.set_aside(self._store, container_id)
                removal.drop_trees(self._store, [f"rm-{container_id}"])

    def started(self, container_id: str, pid: int, start: int) -> None:
        with self._lock:
            self._running[container_id] = (pid, start)
            if self._stopped:
                process.kill(pid, start)

    def ended(self, container_id: str) -> None:
        with self._lock:
            self._running.pop(container_id, None)

    @property
    def engine(self) -> Engine:
        return self._engine

    @property
    def wishes(self) -> RunWishes:
        return self._wishes

    @property
    def builder(self) -> Builder:
        return self._builder


class _OneStep:
    """One RUN: its mounts, its record, its launch."""

    def __init__(self, runner: StepRunner, step: RunStep, container_id: str, held: contextlib.ExitStack) -> None:
        self._runner = runner
        self._store = runner.engine.store
        self._step = step
        self._id = container_id
        self._folder = self._store.path("containers", container_id)
        self._held = held
        self._env: list[str] = []
        self._hidden: dict[str, Context] = {}
        self._read_only: list[str] = []
        # Mount points that go again when they are empty.
        self.targets: list[str] = []

    def run(self, layers: list[int], binds: list[Taken], output: Callable[[int, bytes], None]) -> int:
        """The exit code. Raises LaunchError, BuildError."""
        store = self._store
        launch.make_run_folder(store, self._id)
        mounts = self._mounts(binds)
        record = self._record()
        row = ContainerRow(
            self._id, "", "", "", ",".join(map(str, layers)), "", "{}", time.time_ns(), False, "running", jsontext.dumps(record)
        )
        hostfiles.write(store, row, record)
        joins: dict[str, tuple[int, int]] = {}
        context = launch.spec_context(store, row, record, joins)
        oci = spec.make_spec(record["Config"], record["HostConfig"], mounts, context)
        launch.fresh_overlays(store, self._id, oci)
        self._hide(oci)
        oci["linux"]["readonlyPaths"] += self._read_only
        limits.prepare(record["HostConfig"])
        plan = compile.container_plan(
            oci,
            compile.Launch(
                id=self._id,
                run_folder=store.run_path(self._id),
                state_folder=self._folder,
                layers=tuple(self._runner.builder.paths(layers)),
                record=record,
                auto_remove=False,
                cleanup=(),
                rows=0,
                columns=0,
                cache=store.path("cache"),
                mapping=userns.current(),
                root_namespace=launch.a_monitors_pid(store),
                joins=joins,
            ),
        )
        if self._runner.engine.debug is not None:
            for line in plan.lines():
                self._runner.engine.debug(line)
        ours, theirs = wire.pair()
        started = launcher.start_container(plan, store.run_path(self._id), theirs)
        self._runner.started(self._id, started.pid, started.pid_start)
        try:
            for text in started.warnings:
                self._runner.engine.warn(text)
            return _watched(ours, output)
        finally:
            self._runner.ended(self._id)
            ours.close()

    def _record(self) -> dict[str, Any]:
        step, wishes = self._step, self._runner.wishes
        network = step.network if step.network not in ("", "default") else wishes.network
        insecure = step.security == "insecure"
        if insecure and "security.insecure" not in wishes.allow:
            raise BuildError("security.insecure is not allowed", hint="allow it with --allow security.insecure")
        config: dict[str, Any] = {
            "Hostname": HOSTNAME,
            "User": step.user,
            "Env": [*step.env, *step.proxies, *self._env],
            "Cmd": list(step.argv),
            "Entrypoint": None,
            "WorkingDir": step.cwd,
            "Labels": {},
        }
        host = {
            "NetworkMode": "none" if network == "none" else "host",
            "LogConfig": {"Type": "none", "Config": {}},
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
            "Privileged": insecure,
            "ShmSize": wishes.shm_size,
            "Ulimits": list(wishes.ulimits),
            "CapAdd": list(wishes.cap_add),
            "CapDrop": list(wishes.cap_drop),
            "SecurityOpt": list(wishes.security_opt),
            "ExtraHosts": list(wishes.extra_hosts),
            **({"CgroupParent": wishes.cgroup_parent} if wishes.cgroup_parent else {}),
            **wishes.limits,
        }
        record: dict[str, Any] = {"Config": config, "HostConfig": host, "Mounts": []}
        if self._store.uid == 0 and userns.current().mode == "host" and not insecure:
            # Root's builds keep their own ids also with the host's network.
            record["IdRange"] = leases.FOR_BUILDS
        return record

    # -- mounts ----------------------------------------------------------------------------------------------------------

    def _mounts(self, binds: list[Taken]) -> tuple[MountSpec, ...]:
        found: list[MountSpec] = []
        bound = iter(binds)
        for number, mount in enumerate(self._step.mounts):
            if mount.type == "bind":
                found.append(self._bind(mount, next(bound), number))
            elif mount.type == "cache":
                found.append(MountSpec("bind", mount.target, self._cache(mount), mount.read_only, origin="--mount"))
            elif mount.type == "tmpfs":
                found.append(MountSpec("tmpfs", mount.target, tmpfs_size=mount.size, origin="--mount"))
            elif mount.type == "secret":
                found += self._secret(mount, number)
            else:
                found += self._ssh(mount, number)
        found += [MountSpec("bind", target, source, ro, origin="--volume") for source, target, ro in self._runner.wishes.volumes]
        if self._step.script[0]:
            found.append(self._file("script", *self._step.script, mode=0o755))
        self.targets = [m.target for m in found]
        if len(set(self.targets)) != len(self.targets):
            raise BuildError(f"duplicate mount target in RUN: {', '.join(self.targets)}")
        return tuple(found)

    def _file(self, kept: str, name: str, content: str, *, mode: int = 0o644) -> MountSpec:
        """A file at /dev/pipes, kept in the step's folder."""
        path = f"{self._folder}/{kept}"
        with open(path, "x", encoding="utf-8", errors="surrogateescape") as file:
            file.write(content)
        os.chmod(path, mode)
        return MountSpec("bind", f"/dev/pipes/{name}", path, True, origin="--mount")

    def _bind(self, mount: Mount, taken: Taken, number: int) -> MountSpec:
        action = taken.action()
        if "lowers" not in action:
            folder = os.path.isdir(action["folder"])
            overlay = folder and (not mount.read_only or action["hidden"] is not None)
            if not folder and not mount.read_only:
                return MountSpec("bind", mount.target, self._copy_of(action["folder"], number), origin="--mount")
            if action["hidden"] is not None and folder:
                self._hidden[mount.target] = action["hidden"]
                if mount.read_only:
                    self._read_only.append(mount.target)
            return MountSpec("bind", mount.target, action["folder"], mount.read_only and not overlay, overlay=overlay, origin="--mount")
        target = f"{self._folder}/binds/{number}"
        os.makedirs(target + "/tree")
        os.mkdir(target + "/mnt")
        work = {"do": "extract", "folder": target, "lowers": action["lowers"], "path": action["path"], "target": target + "/tree"}
        self._runner.builder.worker.do({**work, "to": "/it"})
        return MountSpec("bind", mount.target, target + "/tree/it", mount.read_only, origin="--mount")

    def _copy_of(self, path: str, number: int) -> str:
        """A single file that may be written to: what is written is thrown away."""
        copy = f"{self._folder}/file{number}"
        shutil.copy(path, copy)
        return copy

    def _hide(self, oci: dict[str, Any]) -> None:
        """Cover what .dockerignore leaves out of a bind of the context."""
        for key, path in oci["annotations"].items():
            if not (key.startswith("io.wherry.mount.") and key.endswith(".overlay")):
                continue
            mount = oci["mounts"][int(key.split(".")[3])]
            context = self._hidden.get(mount["destination"])
            if context is not None:
                inner = os.path.relpath(mount["source"], context.path)
                hidden = context.hidden("" if inner == "." else inner)
                self._runner.builder.worker.do({"do": "hide", "upper": path + "/upper", "lower": mount["source"], "hidden": hidden})

    def _cache(self, mount: Mount) -> str:
        """The folder of a cache, locked as its sharing wants it until the step ends."""
        own = self._runner.wishes.cache_folders.get(mount.id)
        if own is not None:
            self._lock(own, fcntl.LOCK_SH if mount.sharing == "shared" else fcntl.LOCK_EX)
            return own
        name = f"{mount.id}\0{mount.from_}\0{mount.source}" if mount.from_ else mount.id
        if mount.sharing != "private":
            with self._runner.builder.db_lock:
                folders = steps.mount_folders(self._store, name)
                path = folders[0] if folders else self._new_cache(mount, name)
            self._lock(path, fcntl.LOCK_EX if mount.sharing == "locked" else fcntl.LOCK_SH)
        else:
            with self._runner.builder.db_lock:
                free = (p for p in steps.mount_folders(self._store, name) if self._lock(p, fcntl.LOCK_EX, wait=False))
                path = next(free, "")
                if not path:
                    path = self._new_cache(mount, name)
                    self._lock(path, fcntl.LOCK_EX)
        with self._runner.builder.db_lock:
            steps.touch_mount(self._store, path)
        return path

    def _new_cache(self, mount: Mount, name: str) -> str:
        path = steps.new_mount_folder(self._store, name)
        if mount.from_:
            self._runner.builder.fill(mount, path)
        mode = 0o755 if mount.mode < 0 else mount.mode
        self._runner.builder.worker.do({"do": "place", "path": path, "uid": mount.uid, "gid": mount.gid, "mode": mode})
        return path

    def _lock(self, path: str, how: int, *, wait: bool = True) -> bool:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        while True:
            try:
                fcntl.flock(fd, how | fcntl.LOCK_NB)
                self._held.callback(os.close, fd)
                return True
            except BlockingIOError:
                if not wait:
                    os.close(fd)
                    return False
            try:
                self._runner.builder.check_canceled()
            except BaseException:
                os.close(fd)
                raise
            time.sleep(0.02)

    def _secret(self, mount: Mount, number: int) -> list[MountSpec]:
        data = self._runner.wishes.secrets.get(mount.id)
        if data is None:
            if mount.required:
                raise BuildError(f"secret {mount.id}: not found", hint=f"give it with --secret id={mount.id},src=FILE")
            return []
        if mount.env:
            self._env.append(f"{mount.env}={os.fsdecode(data)}")
            if not mount.target:
                return []
        # In the run root, which is memory: secrets reach no disk.
        path = self._store.run_path(self._id, f"secret{number}")
        mode = 0o400 if mount.mode < 0 else mount.mode
        self._runner.builder.worker.do({"do": "place", "path": path, "data": data.hex(), "uid": mount.uid, "gid": mount.gid, "mode": mode})
        return [MountSpec("bind", mount.target or f"/run/secrets/{mount.id}", path, True, origin="--mount")]

    def _ssh(self, mount: Mount, number: int) -> list[MountSpec]:
        name = mount.id or "default"
        path = self._runner.wishes.ssh.get(name)
        if path is None:
            if mount.required:
                raise BuildError(f"unset ssh forward key {name}", hint=f"give it with --ssh {name}")
            return []
        target = mount.target or f"/run/buildkit/ssh_agent.{number}"
        self._env.append(f"SSH_AUTH_SOCK={target}")
        return [MountSpec("bind", target, path, origin="--mount")]


def _watched(stream: Any, output: Callable[[int, bytes], None]) -> int:
    """Pass a step's output on until it ends, and wait for its monitor to leave. Returns its exit code."""
    code: int | None = None
    while True:
        try:
            message: bytes = stream.recv(wire.BUFFER)
        except ConnectionResetError:
            continue
        if not message:
            break
        kind = wire.kind_of(message)
        if kind in (wire.OUT, wire.ERR):
            output(1 if kind == wire.OUT else 2, message[wire.HEADER :])
        elif kind == wire.EXIT:
            code = wire.i64(message, 0)
    if code is None:
        raise MonitorError("the monitor of a build's step was killed", hint="run the build again; what was finished is kept")
    return code

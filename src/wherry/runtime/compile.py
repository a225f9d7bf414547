"""OCI spec → launch plan: every decision is already in the spec, this lists the operations in their order.

The order is LAUNCH's: what needs the host's files before the namespaces, mounts before the pivot, privileges dropped last.
Annotations that `runtime/spec.py` uses for what OCI has no word for are read here and nowhere else.
"""

from __future__ import annotations

import os

from wherry.kernel import cgroup
from wherry.model import caps, config, signals, sizes
from wherry.model.record import Record
from wherry.runtime import defaults, limits, seccomp
from wherry.runtime.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.kernel.userns import RootMapping

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REC, MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE = 0x4000, 1 << 18, 1 << 19, 1 << 20, 1 << 17
MS_NOATIME, MS_RELATIME, MS_STRICTATIME, MS_NODIRATIME, MS_SYNCHRONOUS, MS_NOSYMFOLLOW = 0x400, 1 << 21, 1 << 24, 0x800, 16, 256

ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_NOEXEC, ATTR_NOATIME = 1, 2, 4, 8, 0x10
ATTR_STRICTATIME, ATTR_NODIRATIME, ATTR_NOSYMFOLLOW, ATTR_ATIME_MASK = 0x20, 0x80, 0x200000, 0x70

SOURCE_RECURSIVE, SOURCE_IDMAP, SOURCE_IDMAP_OR_PLAIN, SOURCE_MAKE, SOURCE_PATH_ONLY, SOURCE_NO_LINK, SOURCE_OF_JOINED = (
    1,
    2,
    4,
    8,
    16,
    32,
    64,
)
SOURCE_READ, SOURCE_SLAVE = 128, 256
MOUNT_MAY_FAIL, MOUNT_MAKE, MOUNT_FALL_BACK = 1, 2, 4
ATTACH_MAKE, ATTACH_SKIP_MISSING, ATTACH_EXTRA = 1, 2, 4

CLONE_NEW = {
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "network": 0x40000000,
    "time": 0x00000080,
}

# option of an OCI mount: (MS_* flag, set or clear)
_FLAGS = {
    "ro": (MS_RDONLY, True),
    "rw": (MS_RDONLY, False),
    "nosuid": (MS_NOSUID, True),
    "suid": (MS_NOSUID, False),
    "nodev": (MS_NODEV, True),
    "dev": (MS_NODEV, False),
    "noexec": (MS_NOEXEC, True),
    "exec": (MS_NOEXEC, False),
    "noatime": (MS_NOATIME, True),
    "relatime": (MS_RELATIME, True),
    "strictatime": (MS_STRICTATIME, True),
    "nodiratime": (MS_NODIRATIME, True),
    "nosymfollow": (MS_NOSYMFOLLOW, True),
    "sync": (MS_SYNCHRONOUS, True),
}
_ATTRIBUTES = {
    "ro": (ATTR_RDONLY, True),
    "rw": (ATTR_RDONLY, False),
    "nosuid": (ATTR_NOSUID, True),
    "suid": (ATTR_NOSUID, False),
    "nodev": (ATTR_NODEV, True),
    "dev": (ATTR_NODEV, False),
    "noexec": (ATTR_NOEXEC, True),
    "exec": (ATTR_NOEXEC, False),
    "noatime": (ATTR_NOATIME, True),
    "strictatime": (ATTR_STRICTATIME, True),
    "nodiratime": (ATTR_NODIRATIME, True),
    "nosymfollow": (ATTR_NOSYMFOLLOW, True),
}
_PROPAGATION = {
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "slave": MS_SLAVE,
    "rslave": MS_SLAVE | MS_REC,
    "shared": MS_SHARED,
    "rshared": MS_SHARED | MS_REC,
    "unbindable": MS_UNBINDABLE,
    "runbindable": MS_UNBINDABLE | MS_REC,
}
_RLIMITS = {
    name: number
    for number, name in enumerate(
        (
            "CPU",
            "FSIZE",
            "DATA",
            "STACK",
            "CORE",
            "RSS",
            "NPROC",
            "NOFILE",
            "MEMLOCK",
            "AS",
            "LOCKS",
            "SIGPENDING",
            "MSGQUEUE",
            "NICE",
            "RTPRIO",
            "RTTIME",
        )
    )
}


class Launch(Record):
    """What a container's plan needs beside its spec. `layers` are folders, topmost first; `record` the store's record of it."""

    id: str
    run_folder: str
    state_folder: str
    layers: tuple[str, ...]
    record: dict[str, Any]
    auto_remove: bool
    cleanup: tuple[str, ...]
    rows: int
    columns: int
    cache: str
    mapping: RootMapping
    root_namespace: int
    joins: dict[str, tuple[int, int]]
    network: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    resolver: bool = False
    secrets: tuple[tuple[str, str, int, int, int], ...] = ()
    health: tuple[int, ...] = ()
    # JSON members of each line in the log's file, and who gets the lines besides
    log_members: tuple[str, ...] = ()
    log_to: tuple[str, str, tuple[str, ...], int, int] | None = None


class ExecLaunch(Record):
    """What an exec's plan needs beside its process. `own_user_namespace`: the container has one that differs from ours.

    `monitor_pid` is -1 for what the container's own monitor executes: it is in the user's namespace R already.
    """

    id: str
    container_id: str
    run_folder: str
    state_folder: str
    record: dict[str, Any]
    pid: int
    pid_start: int
    monitor_pid: int
    own_user_namespace: bool
    mapping: RootMapping
    tty: bool
    stdin: bool
    rows: int
    columns: int
    cache: str


def container_plan(oci: dict[str, Any], launch: Launch) -> Plan:
    """The whole plan of a container."""
    plan = Plan()
    slots = _Slots(plan, owns_ids=bool(oci["linux"].get("uidMappings")) or "user" in launch.joins, mapping=launch.mapping)
    _monitor(plan, launch)
    for name, fields in launch.network:
        plan.add(name, *fields)
    grouped = _cgroups(plan, launch.record["HostConfig"], launch.id)
    _limits(plan, oci["process"], launch.record["HostConfig"], grouped)
    root = _root_sources(slots, launch)
    mounts = _mount_sources(slots, oci)
    devices = _device_sources(slots, oci)
    extra = _single_id_sources(slots, launch)
    secrets = [(slots.source(path, SOURCE_READ), *where) for path, *where in launch.secrets]
    _namespaces(plan, oci, launch.joins)
    _mounts(plan, oci, root, mounts, devices, extra, secrets, wired=bool(launch.network), resolver=launch.resolver)
    _process(plan, oci["process"], oci, launch.cache, launch.mapping)
    if launch.record["HostConfig"].get("Init"):
        plan.add("INIT")
    plan.add("END")
    return plan


def exec_plan(process: dict[str, Any], launch: ExecLaunch) -> Plan:
    """The plan of a process that joins a running container. `process` is OCI's, with `annotations` and `seccomp` beside it."""
    plan = Plan()
    plan.add("ID", launch.id)
    plan.add("RUN_DIR", launch.run_folder)
    plan.add("STATE_DIR", launch.state_folder)
    plan.add("STDIO", int(launch.tty), int(launch.stdin), 1, launch.rows, launch.columns)
    if launch.monitor_pid >= 0:
        _root_namespace(plan, launch.mapping, launch.monitor_pid)
    host = launch.record["HostConfig"]
    groups = cgroup.layout(launch.container_id, cpuset=limits.wants_cpuset(host))
    for version, path, _parent in groups:
        plan.add("CGROUP", version, path, "")
    _limits(plan, process["process"], host, bool(cgroup.of_controller(groups, "pids")[0]))
    flags = sum(CLONE_NEW[kind] for kind in ("mount", "cgroup", "uts", "ipc", "pid", "network"))
    if launch.own_user_namespace:
        flags |= CLONE_NEW["user"]
    plan.add("NS_JOIN", flags, launch.pid, launch.pid_start)
    _process(plan, process["process"], process, launch.cache, launch.mapping)
    plan.add("END")
    return plan


class _Slots:
    """Hands out the slots in which the launcher keeps detached mounts."""

    def __init__(self, plan: Plan, *, owns_ids: bool, mapping: RootMapping) -> None:
        self._plan = plan
        self._next = 0
        # Only root's containers see files through id-mapped mounts; an ordinary user's share R's ids.
        self._idmap = owns_ids and mapping.mode == "host"

    def source(
        self,
        path: str,
        flags: int,
        *,
        idmap: int = 0,
        attributes: tuple[int, int] = (0, 0),
        propagation: int = 0,
        deep: bool = False,
        part: tuple[str, str] | None = None,
    ) -> int:
        """`part`, of a volume: the path inside it, and the process that has it mounted."""
        slot = self._next
        self._next += 1
        if self._idmap:
            flags |= idmap
        if part is not None:
            self._plan.add("SOURCE_PART", slot, path, flags, attributes[0], attributes[1], part[0], part[1], int(deep))
            return slot
        self._plan.add("SOURCE", slot, path, flags, attributes[0], attributes[1], propagation, int(deep))
        return slot


# -- phase 0 ----------------------------------------------------------------------------------------------------------


def _monitor(plan: Plan, launch: Launch) -> None:
    config, host = launch.record["Config"], launch.record["HostConfig"]
    plan.add("ID", launch.id)
    plan.add("RUN_DIR", launch.run_folder)
    plan.add("STATE_DIR", launch.state_folder)
    log = host["LogConfig"]
    if launch.log_to is not None:
        plan.add("LOG_TO", *launch.log_to)
    if log["Type"] != "none":
        options = log["Config"]
        size = options.get("max-size", "-1")
        size_bytes = -1 if size.startswith("-1") else sizes.parse_bytes(size)
        plan.add("LOG", launch.state_folder + "/log.json", size_bytes, int(options.get("max-file", "1")), launch.log_members)
    if launch.health:
        plan.add("HEALTH", *launch.health)
    if config.get("Timeout"):
        plan.add("TIMEOUT", int(config["Timeout"]) * 1000)
    policy = host["RestartPolicy"]
    plan.add("RESTART", policy["Name"], policy["MaximumRetryCount"])
    timeout_s = config.get("StopTimeout")
    timeout_ms = 10_000 if timeout_s is None else -1 if timeout_s < 0 else timeout_s * 1000
    plan.add("STOP", signals.number(config.get("StopSignal") or "SIGTERM") or 15, timeout_ms)
    if launch.auto_remove:
        plan.add("CLEANUP", 1, launch.cleanup)
    plan.add(
        "STDIO",
        int(bool(config.get("Tty"))),
        int(bool(config.get("OpenStdin"))),
        int(bool(config.get("StdinOnce"))),
        launch.rows,
        launch.columns,
    )
    _root_namespace(plan, launch.mapping, launch.root_namespace)


def _root_namespace(plan: Plan, mapping: RootMapping, monitor_pid: int) -> None:
    """How the monitor comes into the user's namespace R: by joining a living monitor's, or by making it."""
    if mapping.mode == "host":
        return
    if monitor_pid:
        try:
            # Inherited on purpose: the launcher closes it when it has joined.
            fd = os.open(f"/proc/{monitor_pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
            plan.inherit(fd)
            plan.add("USERNS_ROOT", 1, fd, (), (), ())
            return
        except OSError:
            # That monitor ended just now; a namespace with the same ids is as good.
            pass
    mode = 2 if mapping.mode == "newuidmap" else 3
    plan.add("USERNS_ROOT", mode, -1, _triples(mapping.uids), _triples(mapping.gids), mapping.helpers)


def _triples(mappings: Any) -> tuple[str, ...]:
    return tuple(f"{inside} {outside} {count}" for inside, outside, count in mappings)


def _cgroups(plan: Plan, host: dict[str, Any], container_id: str) -> bool:
    """The groups and what is written into them. Whether the number of processes is bounded by one."""
    groups = cgroup.layout(container_id, cpuset=limits.wants_cpuset(host))
    for version, path, parent in groups:
        plan.add("CGROUP", version, path, parent)
    for setting in limits.settings(host, groups[0][0]) if groups else ():
        path, parent = cgroup.of_controller(groups, setting.controller)
        # What the machine hasn't got is said by engine/limits.py.
        if path and os.path.exists(f"{parent}/{setting.file}"):
            value = setting.value or cgroup.read(f"{parent}/{setting.file}")
            plan.add("CGROUP_SET", f"{path}/{setting.file}", value, int(not setting.needed))
    return bool(cgroup.of_controller(groups, "pids")[0])


# -- phase 1 ----------------------------------------------------------------------------------------------------------


def _limits(plan: Plan, process: dict[str, Any], host: dict[str, Any], grouped: bool) -> None:
    given = process.get("rlimits") or ()
    if not grouped and limits.pids_limit(host) > 0 and not any(limit["type"] == "RLIMIT_NPROC" for limit in given):
        # No group bounds the number of processes. Since Linux 5.14 this limit counts for each user namespace by itself.
        # (A lower one of the caller's own stays, and nobody asked for more: no word is lost about it.)
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        most = limits.pids_limit(host) if hard < 0 else min(hard, limits.pids_limit(host))
        plan.add("RLIMIT", _RLIMITS["NPROC"], most, most)
    for limit in given:
        soft, hard = (-1 if limit[key] >= 1 << 63 else limit[key] for key in ("soft", "hard"))
        plan.add("RLIMIT", _RLIMITS[limit["type"].removeprefix("RLIMIT_")], soft, hard)
    if process.get("oomScoreAdj"):
        plan.add("OOM_SCORE_ADJ", process["oomScoreAdj"])


def _root_sources(slots: _Slots, launch: Launch) -> tuple[list[int], int]:
    if "Rootfs" in launch.record and not launch.record["Rootfs"]["Overlay"]:
        return [slots.source(launch.record["Rootfs"]["Path"], SOURCE_RECURSIVE, idmap=SOURCE_IDMAP)], -1
    lowers = [slots.source(path, SOURCE_NO_LINK, idmap=SOURCE_IDMAP) for path in launch.layers]
    return lowers, slots.source(launch.state_folder + "/over", SOURCE_NO_LINK, idmap=SOURCE_IDMAP)


def _mount_sources(slots: _Slots, oci: dict[str, Any]) -> list[tuple[dict[str, Any], int, int, list[int]]]:
    """(mount, slot, slot of its own writable layer, slots of an image's trees) for every mount of the spec; -1 and [] for what has none."""
    overlays = oci.get("annotations", {})
    found = []
    for index, mount in enumerate(oci["mounts"]):
        if mount.get("type") == "overlay":
            trees = [o.removeprefix("lowerdir+=") for o in mount.get("options") or () if o.startswith("lowerdir+=")]
            found.append((mount, -1, -1, [slots.source(path, SOURCE_NO_LINK, idmap=SOURCE_IDMAP) for path in trees]))
            continue
        if not _is_bind(mount):
            found.append((mount, -1, -1, []))
            continue
        options = mount.get("options") or ()
        flags = SOURCE_RECURSIVE if "rbind" in options else 0
        if overlays.get(f"io.wherry.mount.{index}.of") == "joined":
            flags |= SOURCE_OF_JOINED
        if overlays.get(f"io.wherry.mount.{index}.create") == "dir":
            flags |= SOURCE_MAKE
        volume = f"io.wherry.mount.{index}.volume" in overlays
        if f"io.wherry.mount.{index}.holder" in overlays:
            flags |= SOURCE_SLAVE
        propagation = next((_PROPAGATION[o] for o in options if o in _PROPAGATION), 0)
        slot = slots.source(
            mount["source"],
            flags,
            idmap=0 if flags & SOURCE_OF_JOINED or config.value("plain_binds") and not volume else SOURCE_IDMAP_OR_PLAIN,
            attributes=_attributes(options),
            propagation=propagation,
            deep="rro" in options,
            part=(overlays.get(f"io.wherry.mount.{index}.below", ""), overlays.get(f"io.wherry.mount.{index}.holder", ""))
            if volume
            else None,
        )
        over = overlays.get(f"io.wherry.mount.{index}.overlay", "")
        found.append((mount, slot, slots.source(over, SOURCE_NO_LINK, idmap=SOURCE_IDMAP) if over else -1, []))
    return found


def _is_bind(mount: dict[str, Any]) -> bool:
    options = mount.get("options") or ()
    return mount.get("type") == "bind" or "bind" in options or "rbind" in options


def _attributes(options: Any) -> tuple[int, int]:
    to_set = to_clear = 0
    for option in options:
        if option == "rro":
            to_set |= ATTR_RDONLY
        elif option in _ATTRIBUTES:
            bit, on = _ATTRIBUTES[option]
            if bit & ATTR_ATIME_MASK:
                to_clear |= ATTR_ATIME_MASK
            if on:
                to_set |= bit
            else:
                to_clear |= bit
    return to_set, to_clear & ~to_set | to_clear & ATTR_ATIME_MASK


def _device_sources(slots: _Slots, oci: dict[str, Any]) -> list[tuple[str, int]]:
    """(path in the container, slot) for each device: nodes of the host, bound, as nobody may make one in a user namespace."""
    if _has_own_dev(oci):
        return []
    hosts = oci.get("annotations", {})
    found = []
    for path in defaults.DEVICES:
        found.append((path, slots.source(path, 0)))
    for device in oci["linux"].get("devices") or ():
        path = device["path"]
        if path in defaults.DEVICES:
            continue
        found.append((path, slots.source(hosts.get("io.wherry.device." + path, path), 0)))
    return found


def _single_id_sources(slots: _Slots, launch: Launch) -> list[tuple[str, int]]:
    """(path in the container, slot) for what programs must be told when there is but one id."""
    if launch.mapping.mode != "single":
        return []
    from wherry.runtime import single_id

    found = single_id.apt_file(launch.cache)
    return [(single_id.APT_TARGET, slots.source(found, 0, attributes=(ATTR_RDONLY, 0)))] if found else []


_DEV_LINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
)


def _has_own_dev(oci: dict[str, Any]) -> bool:
    """Whether the user mounted a /dev of his own: then nothing is made in it."""
    return any(m["destination"].rstrip("/") == "/dev" and _is_bind(m) for m in oci["mounts"])


# -- phases 2 and 3 ---------------------------------------------------------------------------------------------------


def _namespaces(plan: Plan, oci: dict[str, Any], joins: dict[str, tuple[int, int]]) -> None:
    linux = oci["linux"]
    if linux.get("uidMappings"):
        uids, gids = (tuple((m["containerID"], m["hostID"], m["size"]) for m in linux[key]) for key in ("uidMappings", "gidMappings"))
        alone = len(gids) == 1 and gids[0][2] == 1
        plan.add("USERNS_NEW", _triples(uids), _triples(gids), int(alone))
    # All that is joined from one process goes into one setns, its user namespace first: the kernel orders them.
    by_process: dict[tuple[int, int], int] = {}
    for kind, owner in joins.items():
        by_process[owner] = by_process.get(owner, 0) | CLONE_NEW[kind]
    for (pid, start), flags in by_process.items():
        plan.add("NS_JOIN", flags, pid, start)
    new = 0
    for namespace in linux["namespaces"]:
        kind = namespace["type"]
        if kind != "user" and not namespace.get("path") and kind not in joins:
            new |= CLONE_NEW[kind]
    plan.add("NS_NEW", new)


def _mounts(
    plan: Plan,
    oci: dict[str, Any],
    root: tuple[list[int], int],
    mounts: list[tuple[dict[str, Any], int, int, list[int]]],
    devices: list[tuple[str, int]],
    extra: list[tuple[str, int]],
    secrets: list[tuple[Any, ...]],
    *,
    wired: bool,
    resolver: bool,
) -> None:
    linux = oci["linux"]
    # The host's tree is a slave of the host's until the pivot: what is mounted on the way is never seen outside. Then the same
    # for the new root, unless a shared bind would lose by it what it was made for.
    shared = bool(_PROPAGATION[linux.get("rootfsPropagation") or "rslave"] & MS_SHARED)
    plan.add("PROPAGATION", MS_SLAVE | MS_REC)
    lowers, over = root
    if over < 0:
        plan.add("ROOT", lowers[0])
    else:
        plan.add("OVERLAY", lowers, over, "userxattr", 0)
    for path, slot in extra:  # before the user's mounts: nothing is made in a folder of the host's
        plan.add("ATTACH", slot, path, ATTACH_EXTRA)
    notes = oci.get("annotations", {})
    for index, (mount, slot, own_layer, trees) in enumerate(mounts):
        if trees:
            plan.add("IMAGE_AT", trees, mount["destination"], notes.get(f"io.wherry.mount.{index}.below", ""))
        elif slot < 0:
            _fresh_mount(plan, mount)
        elif own_layer >= 0:
            plan.add("OVERLAY_AT", slot, own_layer, mount["destination"], "userxattr")
        else:
            plan.add("ATTACH", slot, mount["destination"], ATTACH_MAKE)
    for secret in secrets:
        plan.add("SECRET", *secret)
    for path, slot in devices:
        plan.add("ATTACH", slot, path, ATTACH_MAKE)
    if devices:
        for target, path in _DEV_LINKS:
            plan.add("SYMLINK", target, path)
        if os.path.exists("/proc/kcore"):
            plan.add("SYMLINK", "/proc/kcore", "/dev/core")
    if oci["process"].get("terminal"):
        plan.add("CONSOLE")
    kinds = {n["type"] for n in linux["namespaces"] if not n.get("path")}
    if "network" in kinds:
        plan.add("LOOPBACK")
        if wired:
            plan.add("NET_WAIT")
        if resolver:
            plan.add("RESOLVER")
    for name, value in (linux.get("sysctl") or {}).items():
        plan.add("SYSCTL", name, value)
    if "uts" in kinds:
        if oci.get("hostname"):
            plan.add("HOSTNAME", oci["hostname"])
        if oci.get("domainname"):
            plan.add("DOMAINNAME", oci["domainname"])
    for path in linux.get("maskedPaths") or ():
        plan.add("MASK", path)
    for path in linux.get("readonlyPaths") or ():
        plan.add("READONLY", path)
    plan.add("PIVOT", 0 if shared else MS_SLAVE | MS_REC)
    if oci["root"].get("readonly"):
        plan.add("ROOT_READONLY")


def _fresh_mount(plan: Plan, mount: dict[str, Any]) -> None:
    flags = 0
    data = []
    for option in mount.get("options") or ():
        if option in _FLAGS:
            bit, on = _FLAGS[option]
            flags = flags | bit if on else flags & ~bit
        elif option not in _PROPAGATION:
            data.append(option)
    kind = mount["type"]
    how = MOUNT_MAKE
    if kind in ("proc", "sysfs"):
        # A fresh one is refused where the host's own is covered in places, as in an outer container.
        how |= MOUNT_FALL_BACK
    elif kind in ("cgroup", "cgroup2", "mqueue"):
        how |= MOUNT_MAY_FAIL
    plan.add("MOUNT", kind, mount["destination"], flags, ",".join(data), mount.get("source") or kind, how)


# -- phase 4 ----------------------------------------------------------------------------------------------------------


def _process(plan: Plan, process: dict[str, Any], holder: dict[str, Any], cache: str, mapping: RootMapping) -> None:
    """`holder` has the annotations, and under linux.seccomp the profile."""
    notes = holder.get("annotations", {})
    plan.add("ARGV", process["args"])
    plan.add("ENV", process["env"])
    plan.add("CWD", process["cwd"], 1)
    user = process["user"]
    plan.add("USER", notes.get("io.wherry.user", ""), user.get("additionalGids") or ())
    groups = [g for g in notes.get("io.wherry.groups", "").split(",") if g]
    if groups:
        plan.add("GROUPS", groups)
    for key, path in notes.items():
        if key.startswith("io.wherry.mount.") and key.endswith(".chown"):
            plan.add("CHOWN", path)
    capabilities = process["capabilities"]
    plan.add(
        "CAPS", *(caps.bits(capabilities.get(kind) or ()) for kind in ("bounding", "effective", "permitted", "inheritable", "ambient"))
    )
    if mapping.mode == "single":
        # One id is all there is: changes of owner and of id succeed without doing anything, so that package managers work.
        plan.add("SECCOMP", seccomp.single_id_filter(cache), 0)
    profile = notes.get("io.wherry.seccomp", "")
    if profile != "unconfined":
        plan.add("SECCOMP", seccomp.filter_for(capabilities.get("bounding") or (), profile, cache), 0)
    if process.get("noNewPrivileges"):
        plan.add("NO_NEW_PRIVS")
    plan.add("UMASK", user.get("umask", 0o022))
    if process.get("apparmorProfile"):
        plan.add("LSM_EXEC", "apparmor", process["apparmorProfile"])
    elif process.get("selinuxLabel"):
        plan.add("LSM_EXEC", "selinux", process["selinuxLabel"])
    plan.add("KEYRING")

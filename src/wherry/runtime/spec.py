"""docker-shaped Config and HostConfig → OCI runtime spec: a pure function, the one place where "what the user asked" becomes policy.

Annotations carry what OCI has no word for:
    io.wherry.user              docker's --user text; the launcher looks it up in the container's own files
    io.wherry.groups            --group-add: names and numbers, comma-separated
    io.wherry.seccomp           "" or "builtin", "unconfined", the path of a profile, or a profile (text that begins with "{")
    io.wherry.mount.N.of        "joined": the source of mount N is a path of the container whose namespaces are joined
    io.wherry.mount.N.chown     the target of mount N, to be given to the process's user (:U)
    io.wherry.mount.N.create    "dir": make the source of mount N when it is missing
    io.wherry.mount.N.overlay   folder with upper/ and work/ for an overlay over mount N (:O)
    io.wherry.mount.N.volume    "1": the source of mount N is a volume, its files are always seen with the container's own ids
    io.wherry.mount.N.below     path inside that volume or image which is mounted instead of all of it
    io.wherry.mount.N.holder    "pid start" of the process in whose mount namespace the source is
    io.wherry.device.PATH       the host's path of a device whose path in the container is PATH
"""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument, Unsupported
from wherry.model import caps, sizes
from wherry.model.mounts import MountSpec
from wherry.model.record import Record
from wherry.runtime import defaults, sysctls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

VERSION = "1.2.0"


class SpecContext(Record):
    """What a spec needs to know beside the container's own config.

    `uid_map` and `gid_map` are (inside, outside, count) of a user namespace of its own, None where it has none (the host's, or a
    joined one). `joins`: kind of namespace → (pid, start) whose one is joined; "user" among them.
    """

    id: str
    hostname: str
    domainname: str
    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    rootless: bool
    uid_map: tuple[tuple[int, int, int], ...] | None
    gid_map: tuple[tuple[int, int, int], ...] | None
    hosts_path: str
    hostname_path: str
    resolv_path: str
    joins: dict[str, tuple[int, int]]


class _Security(Record):
    seccomp: str = ""
    no_new_privileges: bool = False
    unmask: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    apparmor: str = ""
    label: str = ""
    bare: bool = False


def make_spec(config: dict[str, Any], host: dict[str, Any], mounts: tuple[MountSpec, ...], context: SpecContext) -> dict[str, Any]:
    """The whole spec. Raises InvalidArgument, Unsupported."""
    found = make_process(config, host, context)
    security = _security(host)
    notes = found["annotations"]
    privileged = bool(host.get("Privileged"))
    all_mounts = _mounts(host, mounts, context, notes, privileged)
    namespaces = _namespaces(host, context)
    kinds = {n["type"] for n in namespaces if "path" not in n}
    bare = privileged or security.bare or "ALL" in security.unmask or "all" in security.unmask
    linux: dict[str, Any] = {
        "namespaces": namespaces,
        "maskedPaths": _covered(host.get("MaskedPaths"), defaults.masked_paths, security, bare=bare) + list(security.mask),
        "readonlyPaths": _covered(host.get("ReadonlyPaths"), lambda: defaults.READONLY_PATHS, security, bare=bare),
        "sysctl": sysctls.allowed(host, kinds, context.gid_map, own_ids="user" not in context.joins),
        "devices": _devices(host, notes, privileged=privileged),
        "rootfsPropagation": _root_propagation(mounts),
    }
    if context.uid_map and context.gid_map:
        linux["uidMappings"] = [_mapping(t) for t in context.uid_map]
        linux["gidMappings"] = [_mapping(t) for t in context.gid_map]
    return {
        "ociVersion": VERSION,
        "process": found["process"],
        "root": {"path": "rootfs", "readonly": bool(host.get("ReadonlyRootfs"))},
        "hostname": context.hostname,
        **({"domainname": context.domainname} if context.domainname else {}),
        "mounts": all_mounts,
        "linux": linux,
        "annotations": {**(host.get("Annotations") or {}), **notes},
    }


def make_process(config: dict[str, Any], host: dict[str, Any], context: SpecContext) -> dict[str, Any]:
    """{"process": …, "annotations": …}: the part that `exec` needs as well."""
    security = _security(host)
    privileged = bool(host.get("Privileged"))
    names = ["CAP_" + n for n in caps.merged(host.get("CapAdd") or (), host.get("CapDrop") or (), privileged=privileged)]
    user = config.get("User") or ""
    uid, _, gid = user.partition(":")
    process: dict[str, Any] = {
        "terminal": bool(config.get("Tty")),
        "user": {
            "uid": int(uid) if uid.isdigit() else 0,
            "gid": int(gid) if gid.isdigit() else 0,
            "umask": int(config.get("Umask") or "022", 8),
        },
        "args": list(context.args),
        "env": list(context.env),
        "cwd": os.path.normpath(context.cwd) if context.cwd.startswith("/") else "/" + context.cwd,
        # Nothing is inheritable (CVE-2022-24769): a file's inheritable bits must not bring back what was dropped.
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
        "rlimits": [
            {"type": "RLIMIT_" + u["Name"].upper(), "soft": _limit(u["Soft"]), "hard": _limit(u["Hard"])} for u in host.get("Ulimits") or ()
        ],
        "noNewPrivileges": security.no_new_privileges,
    }
    if host.get("OomScoreAdj"):
        process["oomScoreAdj"] = int(host["OomScoreAdj"])
    if security.apparmor or security.label:
        from wherry.kernel import lsm

        if security.apparmor and lsm.apparmor_enabled():
            process["apparmorProfile"] = security.apparmor
        if security.label and lsm.selinux_enabled():
            process["selinuxLabel"] = security.label
    notes = {
        "io.wherry.user": user,
        "io.wherry.groups": ",".join(host.get("GroupAdd") or ()),
        "io.wherry.seccomp": security.seccomp or ("unconfined" if privileged else ""),
    }
    return {"process": process, "annotations": notes}


def _devices(host: dict[str, Any], notes: dict[str, str], *, privileged: bool) -> list[dict[str, Any]]:
    if not privileged and not host.get("Devices"):
        return []
    # Few containers have any: the others' start is spared the import.
    from wherry.runtime import devices

    return devices.devices(host, notes, privileged=privileged)


def _limit(value: int) -> int:
    # OCI's fields are unsigned; "no limit" is the largest. The plan turns it back into -1.
    return value if value >= 0 else (1 << 64) - 1


def _mapping(triple: tuple[int, int, int]) -> dict[str, int]:
    return {"containerID": triple[0], "hostID": triple[1], "size": triple[2]}


# -- security options --------------------------------------------------------------------------------------------------


def _security(host: dict[str, Any]) -> _Security:
    """--security-opt: name=value, or docker's older name:value. Raises InvalidArgument, Unsupported."""
    found = _Security()
    for option in host.get("SecurityOpt") or ():
        if option == "no-new-privileges":
            found = found.replace(no_new_privileges=True)
            continue
        name, mark, value = _split(option)
        if not mark:
            raise InvalidArgument(f'invalid --security-opt 1: "{option}"')
        if name == "no-new-privileges" and value in ("true", "false"):
            found = found.replace(no_new_privileges=value == "true")
        elif name == "seccomp":
            found = found.replace(seccomp=value)
        elif name == "unmask":
            found = found.replace(unmask=(*found.unmask, *value.split(":")))
        elif name == "mask":
            found = found.replace(mask=(*found.mask, *value.split(":")))
        elif name == "systempaths" and value == "unconfined":
            found = found.replace(bare=True)
        elif name == "apparmor":
            found = found.replace(apparmor="" if value == "unconfined" else value)
        elif name == "label":
            found = found.replace(label=_label(value))
        else:
            raise InvalidArgument(f'invalid --security-opt 2: "{option}"')
    return found


def _split(option: str) -> tuple[str, str, str]:
    name, mark, value = option.partition("=")
    return (name, mark, value) if mark else option.partition(":")


def _label(value: str) -> str:
    """label=disable needs nothing here: without a label given, none is set."""
    from wherry.kernel import lsm

    if value == "disable":
        return ""
    if value.partition(":")[0] in ("user", "role", "type", "level", "filetype") and lsm.selinux_enabled():
        raise Unsupported(
            f"--security-opt label={value}: parts of a label are not supported", hint="give label=disable or a whole SELinux label"
        )
    return value


def not_in_force(host: dict[str, Any]) -> list[str]:
    """What was asked for and this machine hasn't got, a sentence each. docker leaves it out without a word; we say so."""
    if not host.get("SecurityOpt"):
        return []
    from wherry.kernel import lsm

    security = _security(host)
    found = []
    if security.apparmor and not lsm.apparmor_enabled():
        found.append(f"this machine has no AppArmor: --security-opt apparmor={security.apparmor} has no effect")
    if security.label and not lsm.selinux_enabled():
        found.append(f"this machine has no SELinux: --security-opt label={security.label} has no effect")
    return found


def _covered(asked: list[str] | None, usual: Callable[[], tuple[str, ...]], security: _Security, *, bare: bool) -> list[str]:
    """Paths to hide or protect: the API's list where there is one, else the usual ones without those that the user laid bare."""
    if asked is not None:
        return list(asked)
    return [] if bare else [path for path in usual() if not _unmasked(path, security.unmask)]


def _unmasked(path: str, patterns: tuple[str, ...]) -> bool:
    for pattern in patterns:
        if path == pattern or pattern.endswith("/*") and path.startswith(pattern[:-1]) and "/" not in path[len(pattern) - 1 :]:
            return True
    return False


# -- namespaces ----------------------------------------------------------------------------------------------------------


def _namespaces(host: dict[str, Any], context: SpecContext) -> list[dict[str, str]]:
    found = [{"type": "mount"}]
    if context.uid_map or "user" in context.joins:
        found.append({"type": "user"})
    for kind, key in (("network", "NetworkMode"), ("pid", "PidMode"), ("ipc", "IpcMode"), ("uts", "UTSMode")):
        mode = host.get(key) or ""
        if mode == "host":
            continue
        found.append({"type": kind})
    if (host.get("CgroupnsMode") or "private") != "host":
        found.append({"type": "cgroup"})
    for namespace in found:
        if namespace["type"] in context.joins:
            namespace["path"] = f"/proc/{context.joins[namespace['type']][0]}/ns/{_FILES.get(namespace['type'], namespace['type'])}"
    return found


_FILES = {"network": "net", "mount": "mnt"}


# -- mounts --------------------------------------------------------------------------------------------------------------


def _mounts(
    host: dict[str, Any], mounts: tuple[MountSpec, ...], context: SpecContext, notes: dict[str, str], privileged: bool
) -> list[dict[str, Any]]:
    user = sorted(mounts, key=lambda m: m.target.rstrip("/").count("/"))
    taken = {os.path.normpath(m.target) for m in user}
    access = "rw" if privileged else "ro"
    shm = int(host.get("ShmSize") or defaults.SHM_BYTES)
    found: list[dict[str, Any]] = [
        _mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", access),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", access, "nosuid", "noexec", "nodev"),
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        _mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", f"size={shm}"),
    ]
    ipc = host.get("IpcMode") or ""
    if ipc == "host":
        found[5:] = [_bind(path, path, "rbind") for path in ("/dev/mqueue", "/dev/shm") if os.path.isdir(path)]
    elif "ipc" in context.joins:
        found[6:] = [_bind("/dev/shm", "/dev/shm", "bind")]
        notes["io.wherry.mount.6.of"] = "joined"
    elif ipc == "none":
        found[6:] = []
    if taken:
        found = [m for m in found if m["destination"] not in taken]
        if "io.wherry.mount.6.of" in notes:
            _renumber(notes, found)
    for path, target in (
        (context.resolv_path, "/etc/resolv.conf"),
        (context.hostname_path, "/etc/hostname"),
        (context.hosts_path, "/etc/hosts"),
    ):
        if target not in taken and not (target == "/etc/hosts" and host.get("NoHosts")):
            found.append(_bind(path, target, "bind"))
    for mount in user:
        index = len(found)
        found.append(_tmpfs(mount) if mount.type == "tmpfs" else _image(mount) if mount.type == "image" else _user_bind(mount))
        if mount.type in ("volume", "image"):
            notes[f"io.wherry.mount.{index}.volume"] = "1"
        if mount.subpath:
            notes[f"io.wherry.mount.{index}.below"] = mount.subpath
        if mount.holder:
            notes[f"io.wherry.mount.{index}.holder"] = mount.holder
        if mount.create_source:
            notes[f"io.wherry.mount.{index}.create"] = "dir"
        if mount.chown:
            notes[f"io.wherry.mount.{index}.chown"] = mount.target
        if mount.overlay:
            notes[f"io.wherry.mount.{index}.overlay"] = f"{os.path.dirname(context.hosts_path)}/overlays/{index}"
    return found


def _renumber(notes: dict[str, str], found: list[dict[str, Any]]) -> None:
    """A user's mount took the place of one of the defaults: the joined /dev/shm may have another number now, or be gone."""
    del notes["io.wherry.mount.6.of"]
    for index, mount in enumerate(found):
        if mount["destination"] == "/dev/shm":
            notes[f"io.wherry.mount.{index}.of"] = "joined"


def _mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def _bind(source: str, destination: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": source, "options": [*options, "rprivate"]}


def _user_bind(mount: MountSpec) -> dict[str, Any]:
    options = ["bind" if mount.bind_recursive == "disabled" else "rbind"]
    if mount.read_only:
        # Read-only goes all the way down by default, as docker's does on kernels that can (5.12): a submount is no way round it.
        options.append("ro" if mount.bind_recursive in ("writable", "disabled") else "rro")
    options.append(mount.propagation or "rprivate")
    options += [o for o in mount.options if o in ("exec", "noexec", "suid", "nosuid", "dev", "nodev")]
    return {"destination": mount.target, "type": "bind", "source": mount.source, "options": options}


def _image(mount: MountSpec) -> dict[str, Any]:
    """The trees of an image under overlayfs, read-only; `source` has them topmost first, a line each."""
    options = ["ro", *("lowerdir+=" + path for path in mount.source.split("\n"))]
    return {"destination": mount.target, "type": "overlay", "source": "overlay", "options": options}


_TMPFS_FLAGS = (
    "rw", "ro", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "noatime", "nodiratime", "relatime", "strictatime", "sync", "nosymfollow",
)  # fmt: skip
_TMPFS_DATA = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge", "inode32", "inode64", "noswap")


def _tmpfs(mount: MountSpec) -> dict[str, Any]:
    options = ["noexec", "nosuid", "nodev"]
    for option in mount.options:
        name = option.partition("=")[0]
        if mount.origin == "--mount":
            continue
        if name not in _TMPFS_FLAGS and name not in _TMPFS_DATA:
            raise InvalidArgument(f'invalid tmpfs option ["{option}"]')
        opposite = {"exec": "noexec", "suid": "nosuid", "dev": "nodev"}.get(option)
        if opposite in options:
            options.remove(opposite)
        elif option not in options:
            options.append(_size_option(option))
    if mount.read_only and "ro" not in options:
        options.append("ro")
    if mount.tmpfs_size >= 0:
        options.append(f"size={mount.tmpfs_size}")
    if mount.tmpfs_mode >= 0:
        options.append(f"mode={mount.tmpfs_mode:o}")
    elif not any(o.startswith("mode=") for o in options):
        options.append("mode=1777")
    return {"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": options}


def _size_option(option: str) -> str:
    """docker takes "size=64m"; so does the kernel, but not every unit that people write."""
    name, equals, value = option.partition("=")
    if name == "size" and equals and not value.endswith("%") and not value.isdigit():
        return f"size={sizes.parse_bytes(value)}"
    return option


def _root_propagation(mounts: tuple[MountSpec, ...]) -> str:
    """docker's rule: a shared bind needs a shared root. OCI's words have no "r": the plan makes it recursive where that is right."""
    return "shared" if any(m.propagation in ("shared", "rshared") for m in mounts) else "slave"

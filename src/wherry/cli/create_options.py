"""The options of `run` and `create`, and how they become a request in the shape of docker's API."""

from __future__ import annotations

import os

from wherry.cli.options import Option, Parsed
from wherry.errors import UsageError
from wherry.model import devices, envfile, mounts, restart, signals, sizes, ulimit
from wherry.model.container import CreateRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_O = Option
OPTIONS: tuple[Option, ...] = (
    _O("add-host", kind="list", help="Add a custom host-to-IP mapping (host:ip)"),
    _O("annotation", kind="list", placeholder="map", help="Add an annotation to the container's spec"),
    _O("attach", "a", "list", help="Attach to STDIN, STDOUT or STDERR"),
    _O("cap-add", kind="list", help="Add Linux capabilities"),
    _O("cap-drop", kind="list", help="Drop Linux capabilities"),
    _O("cgroupns", help="Cgroup namespace to use (host|private)"),
    _O("cidfile", help="Write the container ID to the file"),
    _O("detach-keys", help="Override the key sequence for detaching a container"),
    _O("device", kind="list", help="Add a host device to the container"),
    _O("domainname", help="Container NIS domain name"),
    _O("entrypoint", help="Overwrite the default ENTRYPOINT of the image"),
    _O("env", "e", "list", help="Set environment variables"),
    _O("env-file", kind="list", help="Read in a file of environment variables"),
    _O("expose", kind="list", help="Note a port or a range of ports in the container's config"),
    _O("group-add", kind="list", help="Add additional groups to join"),
    _O("hostname", "h", help="Container host name"),
    _O("init", kind="bool", help="Run an init inside the container that forwards signals and reaps processes"),
    _O("interactive", "i", "bool", help="Keep STDIN open even if not attached"),
    _O("ipc", help="IPC mode to use (private|shareable|none|host|container:NAME)"),
    _O("label", "l", "list", help="Set meta data on a container"),
    _O("label-file", kind="list", help="Read in a line delimited file of labels"),
    _O("log-driver", help="Logging driver for the container (json-file|none)"),
    _O("log-opt", kind="list", help="Log driver options (max-size, max-file)"),
    _O("mount", kind="list", placeholder="mount", help="Attach a filesystem mount to the container"),
    _O("name", help="Assign a name to the container"),
    _O("network", placeholder="network", help="Connect a container to a network (none|host|container:NAME)"),
    _O("net", hidden=True),
    _O("oom-score-adj", kind="int", default=0, help="Tune host's OOM preferences (-1000 to 1000)"),
    _O("pid", help="PID namespace to use (host|container:NAME)"),
    _O("platform", help="Set platform of the image"),
    _O("privileged", kind="bool", help="Give extended privileges to this container"),
    _O("pull", default="missing", help='Pull image before running ("always", "missing", "never")'),
    _O("quiet", "q", "bool", help="Suppress the pull output"),
    _O("read-only", kind="bool", help="Mount the container's root filesystem as read only"),
    _O("restart", default="no", help="Restart policy to apply when a container exits"),
    _O("rm", kind="bool", help="Automatically remove the container when it exits"),
    _O("security-opt", kind="list", help="Security options"),
    _O("shm-size", placeholder="bytes", help="Size of /dev/shm"),
    _O("stop-signal", help="Signal to stop the container"),
    _O("stop-timeout", kind="int", default=None, help="Timeout (in seconds) to stop a container"),
    _O("sysctl", kind="list", placeholder="map", help="Sysctl options"),
    _O("tmpfs", kind="list", help="Mount a tmpfs directory"),
    _O("tty", "t", "bool", help="Allocate a pseudo-TTY"),
    _O("ulimit", kind="list", placeholder="ulimit", help="Ulimit options"),
    _O("user", "u", help="Username or UID (format: <name|uid>[:<group|gid>])"),
    _O("userns", help="User namespace to use (host)"),
    _O("uts", help="UTS namespace to use (host)"),
    _O("volume", "v", "list", help="Bind mount a folder or a file"),
    _O("workdir", "w", help="Working directory inside the container"),
)
RUN_OPTIONS: tuple[Option, ...] = (
    *OPTIONS,
    _O("detach", "d", "bool", help="Run container in background and print container ID"),
    _O("sig-proxy", kind="bool", default=True, help="Proxy received signals to the process"),
)

_LIMITS = "limits are not enforced yet, so the flag is refused rather than ignored"
_NETWORKS = "bridge and custom networks are not there yet; --network host shares the host's"
_VOLUMES = "named volumes are not there yet; use a bind mount"
_HEALTH = "health checks are not there yet"
_REGISTRY = "registries are not there yet; `load` an archive"

# Flags of docker and podman that are understood and refused, with the way round.
LATER: dict[str, str] = {
    **dict.fromkeys(
        (
            "memory", "m", "memory-swap", "memory-reservation", "memory-swappiness", "kernel-memory", "cpus", "c", "cpu-shares", "cpu-quota",
            "cpu-period", "cpu-rt-period", "cpu-rt-runtime", "cpuset-cpus", "cpuset-mems", "pids-limit", "blkio-weight", "blkio-weight-device",
            "device-read-bps", "device-write-bps", "device-read-iops", "device-write-iops", "device-cgroup-rule", "oom-kill-disable",
            "cgroup-parent", "storage-opt", "cgroups", "cgroup-conf",
        ),
        _LIMITS,
    ),
    **dict.fromkeys(
        (
            "publish", "p", "publish-all", "P", "network-alias", "net-alias", "ip", "ip6", "mac-address", "link", "link-local-ip", "dns", "dns-search",
            "dns-option", "dns-opt", "no-hosts",
        ),
        _NETWORKS,
    ),
    **dict.fromkeys(("volumes-from", "volume-driver", "image-volume", "secret"), _VOLUMES),
    **dict.fromkeys(
        (
            "health-cmd", "health-interval", "health-timeout", "health-retries", "health-start-period", "health-start-interval",
            "health-startup-cmd", "health-on-failure",
        ),
        _HEALTH,
    ),
    **dict.fromkeys(("tls-verify", "creds", "authfile", "retry", "retry-delay", "cert-dir", "arch", "os", "variant"), _REGISTRY),
    "runtime": "the built-in runtime is the only one yet",
    "gpus": "name the device nodes with --device",
    "replace": "remove the old container first: rm -f NAME",
    "rootfs": "import the root file system as an image",
    "timeout": "use `timeout` in the container's command",
    "tz": "set -e TZ=… and bind /usr/share/zoneinfo",
    "umask": "set it in the container's command",
    "passwd-entry": "bind an /etc/passwd of your own",
    "group-entry": "bind an /etc/group of your own",
    "pidfile": "`inspect -f {{.State.Pid}}` has it",
    "env-host": "name the variables with -e KEY",
    "unsetenv": "-e KEY takes an image's variable away where the caller has none",
    "pod": "pods are not there yet",
    "uidmap": "each container has a range of its own; --userns=host shares the host's",
    "gidmap": "each container has a range of its own; --userns=host shares the host's",
    "systemd": "run systemd with --privileged and --tmpfs /run",
    "use-api-socket": "there is no API socket yet",
}  # fmt: skip

# Accepted and without effect, because there is nothing here that they could change.
NO_EFFECT: dict[str, tuple[Option, str]] = {
    "no-healthcheck": (_O("no-healthcheck", kind="bool", hidden=True), "no health checks run"),
    "disable-content-trust": (_O("disable-content-trust", kind="bool", hidden=True), "no image signatures are checked"),
    "isolation": (_O("isolation", hidden=True), "a choice of Windows"),
}
OPTIONS += tuple(option for option, _why in NO_EFFECT.values())
RUN_OPTIONS += tuple(option for option, _why in NO_EFFECT.values())


def request(parsed: Parsed, *, detach: bool) -> CreateRequest:
    """What `run` and `create` ask the engine for. Raises UsageError, InvalidArgument."""
    if not parsed.words:
        raise UsageError("'{}' requires at least 1 argument")
    image, command = parsed.words[0], parsed.words[1:]
    attach = _attach(parsed)
    config = _config(parsed, image, command, attach, detach)
    return CreateRequest(
        image=image,
        config=config,
        host=_host(parsed),
        name=parsed.name,
        mounts=_mounts(parsed),
        pull=parsed.pull,
        platform=parsed.platform,
        cidfile=parsed.cidfile,
        quiet=parsed.quiet,
    )


def attached_streams(parsed: Parsed) -> frozenset[str]:
    """What an attached run connects: stdout and stderr, stdin with -i, or just what -a names."""
    return _attach(parsed)


def _attach(parsed: Parsed) -> frozenset[str]:
    named = set()
    for text in parsed.attach:
        word = text.lower()
        if word not in ("stdin", "stdout", "stderr"):
            raise UsageError(f'invalid argument "{text}" for "-a, --attach" flag: valid streams are STDIN, STDOUT and STDERR')
        named.add(word)
    if named:
        return frozenset(named)
    return frozenset(("stdout", "stderr") + (("stdin",) if parsed.interactive else ()))


def _config(parsed: Parsed, image: str, command: list[str], attach: frozenset[str], detach: bool) -> dict[str, Any]:
    env: list[str] = []
    for path in parsed.env_file:
        env += envfile.read_file(path)
    env += [envfile.variable(text) for text in parsed.env]
    labels: list[str] = []
    for path in parsed.label_file:
        labels += envfile.read_file(path, lookup=False)
    labels += parsed.label
    entrypoint: list[str] | None = None
    if "entrypoint" in parsed.given:
        entrypoint = [parsed.entrypoint]
    interactive = bool(parsed.interactive)
    config: dict[str, Any] = {
        "Hostname": _hostname(parsed.hostname),
        "Domainname": parsed.domainname,
        "User": parsed.user,
        "AttachStdin": not detach and "stdin" in attach,
        "AttachStdout": not detach and "stdout" in attach,
        "AttachStderr": not detach and "stderr" in attach,
        "Tty": bool(parsed.tty),
        "OpenStdin": interactive,
        "StdinOnce": interactive and not detach and "stdin" in attach,
        "Env": env,
        "Cmd": command or None,
        "Image": image,
        "Volumes": None,
        "WorkingDir": parsed.workdir,
        "Entrypoint": entrypoint,
        "OnBuild": None,
        "Labels": envfile.labels(labels),
        "ExposedPorts": {p if "/" in p else p + "/tcp": {} for p in parsed.expose} or None,
    }
    if parsed.workdir and not parsed.workdir.startswith("/"):
        raise UsageError(f"the working directory '{parsed.workdir}' is invalid, it needs to be an absolute path")
    if parsed.stop_signal:
        if signals.number(parsed.stop_signal) is None:
            raise UsageError(f"invalid signal: {parsed.stop_signal}")
        config["StopSignal"] = parsed.stop_signal
    if parsed.stop_timeout is not None:
        config["StopTimeout"] = parsed.stop_timeout
    return config


def _hostname(name: str) -> str:
    if name and (len(name) > 64 or not all(c.isalnum() and c.isascii() or c in "-._" for c in name)):
        raise UsageError(f"invalid hostname format: {name}")
    return name


def _mounts(parsed: Parsed) -> tuple[mounts.MountSpec, ...]:
    found = [mounts.parse_volume(text) for text in parsed.volume]
    found += [mounts.parse_mount(text) for text in parsed.mount]
    found += [mounts.parse_tmpfs(text) for text in parsed.tmpfs]
    return tuple(found)


def _host(parsed: Parsed) -> dict[str, Any]:
    if parsed.rm and parsed.restart not in ("", "no"):
        raise UsageError("conflicting options: cannot specify both --restart and --rm")
    return {
        "Binds": list(parsed.volume) or None,
        "ContainerIDFile": parsed.cidfile,
        "LogConfig": {"Type": parsed.log_driver, "Config": _pairs(parsed.log_opt, "log-opt")},
        "NetworkMode": parsed.network or parsed.net or "default",
        "PortBindings": {},
        "RestartPolicy": restart.parse(parsed.restart),
        "AutoRemove": bool(parsed.rm),
        "VolumeDriver": "",
        "VolumesFrom": None,
        "Annotations": _pairs(parsed.annotation, "annotation") or None,
        "CapAdd": list(parsed.cap_add) or None,
        "CapDrop": list(parsed.cap_drop) or None,
        "CgroupnsMode": _one_of("cgroupns", parsed.cgroupns, ("", "host", "private")),
        "Dns": [],
        "DnsOptions": [],
        "DnsSearch": [],
        "ExtraHosts": [_extra_host(text) for text in parsed.add_host] or None,
        "GroupAdd": list(parsed.group_add) or None,
        "IpcMode": _mode("ipc", parsed.ipc, ("", "private", "shareable", "none", "host")),
        "Cgroup": "",
        "Links": None,
        "OomScoreAdj": parsed.oom_score_adj,
        "PidMode": _mode("pid", parsed.pid, ("", "host")),
        "Privileged": bool(parsed.privileged),
        "PublishAllPorts": False,
        "ReadonlyRootfs": bool(parsed.read_only),
        "SecurityOpt": [_security(text) for text in parsed.security_opt] or None,
        "UTSMode": _one_of("uts", parsed.uts, ("", "host")),
        "UsernsMode": parsed.userns,
        "ShmSize": sizes.parse_bytes(parsed.shm_size) if parsed.shm_size else 64 << 20,
        "Sysctls": _pairs(parsed.sysctl, "sysctl"),
        "Tmpfs": {m.target: ",".join(m.options) for m in (mounts.parse_tmpfs(t) for t in parsed.tmpfs)},
        "Runtime": "wherry",
        "Isolation": "",
        "CpuShares": 0,
        "Memory": 0,
        "NanoCpus": 0,
        "CgroupParent": "",
        "Devices": [devices.parse(text) for text in parsed.device],
        "DeviceCgroupRules": None,
        "DeviceRequests": None,
        "MemoryReservation": 0,
        "MemorySwap": 0,
        "PidsLimit": None,
        "Ulimits": [ulimit.parse(text) for text in parsed.ulimit],
        "Init": bool(parsed.init) if "init" in parsed.given else None,
    }


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise UsageError(f"--{name}: invalid {name} mode: {value}")
    return value


def _mode(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value.startswith("container:") and len(value) > len("container:"):
        return value
    return _one_of(name, value, allowed)


def _pairs(texts: list[str], flag: str) -> dict[str, str]:
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f'invalid argument "{text}" for "--{flag}" flag: it must be of the form key=value')
        found[key] = value
    return found


def _extra_host(text: str) -> str:
    mark = "=" if "=" in text else ":"
    name, found, address = text.partition(mark)
    address = address.removeprefix("[").removesuffix("]")
    if not found or not name or not address:
        raise UsageError(f'invalid argument "{text}" for "--add-host" flag: bad format for add-host: "{text}"')
    if address != "host-gateway" and not _is_address(address):
        raise UsageError(f'invalid argument "{text}" for "--add-host" flag: invalid IP address in add-host: "{address}"')
    return f"{name}:{address}"


def _is_address(text: str) -> bool:
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, text)
        except OSError:
            continue
        return True
    return False


def _security(text: str) -> str:
    """A profile is taken along as it is now, as docker does: a later start doesn't depend on the file."""
    name, mark, value = text.partition("=")
    if name != "seccomp" or not mark or value in ("unconfined", "builtin", "") or value.startswith("{"):
        return text
    try:
        with open(value, encoding="utf-8") as file:
            return f"seccomp={file.read(8 << 20)}"
    except (OSError, UnicodeDecodeError) as error:
        reason = os.strerror(error.errno or 0).lower() if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"opening seccomp profile ({value}) failed: {reason}") from error

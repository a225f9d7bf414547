"""What a program may ask of a new container, and how it becomes a request in the shape of docker's API.

The names are docker-py's. Sizes are bytes, or text with a unit ("512m"); times are seconds unless the name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from wherry.errors import InvalidArgument
from wherry.model import devices, mounts, restart, sizes, ulimit
from wherry.model.container import CreateRequest

Words = str | Sequence[str]
Pairs = Mapping[str, str] | Sequence[str]


class ContainerOptions(TypedDict, total=False):
    """Options of `containers.run` and `containers.create`. None of them is needed; the image's config holds where one is left out."""

    annotations: Mapping[str, str]
    auto_remove: bool
    """The container is removed when it ends."""
    cap_add: Sequence[str]
    cap_drop: Sequence[str]
    cgroupns: str
    cpu_period: int
    """Microseconds."""
    cpu_quota: int
    """Microseconds."""
    cpu_shares: int
    cpus: float
    """Processors' worth of time: 1.5."""
    cpuset_cpus: str
    cpuset_mems: str
    devices: Sequence[str]
    """HOST[:CONTAINER][:rwm]."""
    domainname: str
    entrypoint: Words
    """"" takes the image's away."""
    environment: Pairs
    """{"NAME": "value"} or ["NAME=value"]."""
    extra_hosts: Mapping[str, str]
    """{name: address}."""
    dns: Sequence[str]
    dns_opt: Sequence[str]
    dns_search: Sequence[str]
    group_add: Sequence[str | int]
    healthcheck: Mapping[str, Any]
    """{"test": ["CMD", …] or "for a shell", "interval": s, "timeout": s, "retries": n, "start_period": s, "start_interval": s}."""
    hostname: str
    init: bool
    ipc_mode: str
    labels: Pairs
    log_config: Mapping[str, Any]
    """{"type": "json-file", "config": {"max-size": "1m"}}."""
    mem_limit: int | str
    mem_reservation: int | str
    mem_swappiness: int
    memswap_limit: int | str
    """Memory and swap together; -1: swap without a limit."""
    mounts: Sequence[str]
    """Each as `--mount` takes it: "type=bind,src=/a,dst=/b,ro"."""
    name: str
    nano_cpus: int
    """Thousand millionths of a processor."""
    network: str
    network_mode: str
    """The same as `network`."""
    oom_kill_disable: bool
    oom_score_adj: int
    pid_mode: str
    pids_limit: int
    platform: str
    ports: Mapping[str, Any]
    """{"80/tcp": 8080, "53/udp": ("127.0.0.1", 5353), "443": None}: None takes a free port, a list publishes several."""
    privileged: bool
    publish_all_ports: bool
    pull: str
    """"missing" (the default), "always" or "never"."""
    read_only: bool
    restart_policy: Mapping[str, Any] | str
    """{"Name": "on-failure", "MaximumRetryCount": 3}, or "on-failure:3"."""
    security_opt: Sequence[str]
    shm_size: int | str
    stdin_open: bool
    stop_signal: str
    stop_timeout: int
    sysctls: Mapping[str, str]
    tmpfs: Mapping[str, str] | Sequence[str]
    """{"/run": "size=64m"}."""
    tty: bool
    ulimits: Sequence[str]
    """Each as `--ulimit` takes it: "nofile=1024:2048"."""
    user: str | int
    userns_mode: str
    uts_mode: str
    volumes: Mapping[str, Mapping[str, str]] | Sequence[str]
    """{"/host": {"bind": "/container", "mode": "ro"}} or ["/host:/container:ro"]."""
    working_dir: str


def _size(value: int | str) -> int:
    return value if isinstance(value, int) else -1 if value == "-1" else sizes.parse_bytes(value)


def _pairs(value: Pairs) -> list[str]:
    return [f"{k}={v}" for k, v in value.items()] if isinstance(value, Mapping) else list(value)


def _map(value: Pairs) -> dict[str, str]:
    return dict(value) if isinstance(value, Mapping) else {k: v for k, _, v in (text.partition("=") for text in value)}


def words(value: Words | None) -> list[str]:
    """A command as words. A string is split as a shell would, without anything else that a shell does."""
    if value is None:
        return []
    if isinstance(value, str):
        import shlex

        return shlex.split(value)
    return [str(word) for word in value]


def _restart(value: Mapping[str, Any] | str) -> dict[str, Any]:
    if isinstance(value, str):
        return restart.parse(value)
    count = int(value.get("MaximumRetryCount") or 0)
    return restart.parse(f"{value.get('Name') or 'no'}:{count}" if count else str(value.get("Name") or "no"))


def _log(value: Mapping[str, Any]) -> dict[str, Any]:
    config = value.get("config", value.get("Config")) or {}
    return {"Type": value.get("type", value.get("Type")) or "", "Config": {str(k): str(v) for k, v in config.items()}}


def _healthcheck(value: Mapping[str, Any]) -> dict[str, Any]:
    test = value.get("test", ())
    found: dict[str, Any] = {
        "Test": ["CMD-SHELL", test] if isinstance(test, str) else list(test),
        "Retries": int(value.get("retries") or 0),
    }
    for name, key in (
        ("interval", "Interval"),
        ("timeout", "Timeout"),
        ("start_period", "StartPeriod"),
        ("start_interval", "StartInterval"),
    ):
        found[key] = round(float(value.get(name) or 0) * 1_000_000_000)
    return {key: part for key, part in found.items() if part}


def _ports(value: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for port, targets in value.items():
        key = str(port) if "/" in str(port) else f"{port}/tcp"
        for target in targets if isinstance(targets, list) else [targets]:
            address, number = target if isinstance(target, tuple) else ("", target)
            found.setdefault(key, []).append({"HostIp": str(address), "HostPort": "" if number is None else str(number)})
    return found


# option → (Config's key, conversion)
_CONFIG: dict[str, tuple[str, Any]] = {
    "domainname": ("Domainname", str),
    "entrypoint": ("Entrypoint", lambda value: [""] if value == "" else words(value)),
    "environment": ("Env", _pairs),
    "healthcheck": ("Healthcheck", _healthcheck),
    "hostname": ("Hostname", str),
    "labels": ("Labels", _map),
    "stdin_open": ("OpenStdin", bool),
    "stop_signal": ("StopSignal", str),
    "stop_timeout": ("StopTimeout", int),
    "tty": ("Tty", bool),
    "user": ("User", str),
    "working_dir": ("WorkingDir", str),
}
# option → (HostConfig's key, conversion)
_HOST: dict[str, tuple[str, Any]] = {
    "annotations": ("Annotations", dict),
    "auto_remove": ("AutoRemove", bool),
    "cap_add": ("CapAdd", list),
    "cap_drop": ("CapDrop", list),
    "cgroupns": ("CgroupnsMode", str),
    "cpu_period": ("CpuPeriod", int),
    "cpu_quota": ("CpuQuota", int),
    "cpu_shares": ("CpuShares", int),
    "cpus": ("NanoCpus", lambda value: round(value * 1_000_000_000)),
    "cpuset_cpus": ("CpusetCpus", str),
    "cpuset_mems": ("CpusetMems", str),
    "devices": ("Devices", lambda value: [devices.parse(text) for text in value]),
    "dns": ("Dns", list),
    "dns_opt": ("DnsOptions", list),
    "dns_search": ("DnsSearch", list),
    "extra_hosts": ("ExtraHosts", lambda value: [f"{name}:{address}" for name, address in value.items()]),
    "group_add": ("GroupAdd", lambda value: [str(group) for group in value]),
    "init": ("Init", bool),
    "ipc_mode": ("IpcMode", str),
    "log_config": ("LogConfig", _log),
    "mem_limit": ("Memory", _size),
    "mem_reservation": ("MemoryReservation", _size),
    "mem_swappiness": ("MemorySwappiness", int),
    "memswap_limit": ("MemorySwap", _size),
    "nano_cpus": ("NanoCpus", int),
    "network": ("NetworkMode", str),
    "network_mode": ("NetworkMode", str),
    "oom_kill_disable": ("OomKillDisable", bool),
    "oom_score_adj": ("OomScoreAdj", int),
    "pid_mode": ("PidMode", str),
    "pids_limit": ("PidsLimit", int),
    "privileged": ("Privileged", bool),
    "ports": ("PortBindings", _ports),
    "publish_all_ports": ("PublishAllPorts", bool),
    "read_only": ("ReadonlyRootfs", bool),
    "restart_policy": ("RestartPolicy", _restart),
    "security_opt": ("SecurityOpt", list),
    "shm_size": ("ShmSize", _size),
    "sysctls": ("Sysctls", dict),
    "ulimits": ("Ulimits", lambda value: [ulimit.parse(text) for text in value]),
    "userns_mode": ("UsernsMode", str),
    "uts_mode": ("UTSMode", str),
}
# What is a mount, or is no part of docker's two records.
_OTHER = frozenset(("mounts", "name", "platform", "pull", "tmpfs", "volumes"))

_DEFAULT_CONFIG: dict[str, Any] = {
    "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": True, "AttachStderr": True, "Tty": False,
    "OpenStdin": False, "StdinOnce": False, "Env": [], "Cmd": None, "Volumes": None, "WorkingDir": "", "Entrypoint": None,
    "OnBuild": None, "Labels": {}, "ExposedPorts": None,
}  # fmt: skip
_DEFAULT_HOST: dict[str, Any] = {
    "Binds": None, "ContainerIDFile": "", "LogConfig": {"Type": "", "Config": {}}, "NetworkMode": "default", "PortBindings": {},
    "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "AutoRemove": False, "VolumeDriver": "", "VolumesFrom": None,
    "Annotations": None, "CapAdd": None, "CapDrop": None, "CgroupnsMode": "", "Dns": [], "DnsOptions": [], "DnsSearch": [],
    "ExtraHosts": None, "GroupAdd": None, "IpcMode": "", "Cgroup": "", "Links": None, "OomScoreAdj": 0, "PidMode": "",
    "Privileged": False, "PublishAllPorts": False, "ReadonlyRootfs": False, "SecurityOpt": None, "UTSMode": "", "UsernsMode": "",
    "ShmSize": 64 << 20, "Sysctls": {}, "Tmpfs": {}, "Runtime": "wherry", "Isolation": "", "CgroupParent": "", "Devices": [],
    "DeviceCgroupRules": None, "DeviceRequests": None, "Ulimits": [], "Init": None, "BlkioWeight": 0, "CpuPeriod": 0, "CpuQuota": 0,
    "CpuShares": 0, "NanoCpus": 0, "CpusetCpus": "", "CpusetMems": "", "Memory": 0, "MemoryReservation": 0, "MemorySwap": 0,
    "PidsLimit": None, "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0, "BlkioWeightDevice": [], "BlkioDeviceReadBps": [],
    "BlkioDeviceWriteBps": [], "BlkioDeviceReadIOps": [], "BlkioDeviceWriteIOps": [], "MemorySwappiness": None, "OomKillDisable": None,
}  # fmt: skip


def request(image: str, command: Words | None, options: Mapping[str, Any]) -> CreateRequest:
    """The request for a container. Raises InvalidArgument for an option that there is not, or a malformed value."""
    config, host = dict(_DEFAULT_CONFIG), dict(_DEFAULT_HOST)
    for name, value in options.items():
        if value is None or name in _OTHER:
            continue
        if name in _CONFIG:
            key, convert = _CONFIG[name]
            config[key] = convert(value)
        elif name in _HOST:
            key, convert = _HOST[name]
            host[key] = convert(value)
        else:
            raise InvalidArgument(f"{name}: a container has no such option", hint="see wherry.ContainerOptions for all of them")
    config["Cmd"] = words(command) or None
    config["Image"] = image
    if host["PortBindings"]:
        config["ExposedPorts"] = {port: {} for port in host["PortBindings"]}
    specs = _mounts(options, host)
    return CreateRequest(
        image=image,
        config=config,
        host=host,
        name=options.get("name") or "",
        mounts=tuple(specs),
        pull=options.get("pull") or "missing",
        platform=options.get("platform") or "",
    )


def _mounts(options: Mapping[str, Any], host: dict[str, Any]) -> list[mounts.MountSpec]:
    volumes = options.get("volumes") or ()
    if isinstance(volumes, Mapping):
        volumes = [f"{source}:{of['bind']}" + (f":{of['mode']}" if of.get("mode") else "") for source, of in volumes.items()]
    tmpfs = options.get("tmpfs") or ()
    if isinstance(tmpfs, Mapping):
        tmpfs = [f"{target}:{words}" if words else target for target, words in tmpfs.items()]
    found = [mounts.parse_volume(text) for text in volumes]
    found += [mounts.parse_mount(text) for text in options.get("mounts") or ()]
    empty = [mounts.parse_tmpfs(text) for text in tmpfs]
    host["Binds"] = list(volumes) or None
    host["Tmpfs"] = {mount.target: ",".join(mount.options) for mount in empty}
    return found + empty

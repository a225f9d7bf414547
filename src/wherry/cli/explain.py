"""`inspect --explain`: a container in words and a drawing: what isolates it, what it may use, what could not be had and why."""

from __future__ import annotations

from wherry.cli.output import one_line
from wherry.model import caps, sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Lines = list[tuple[str, list[str]]]

_MODES = (("network", "NetworkMode"), ("pid", "PidMode"), ("ipc", "IpcMode"), ("uts", "UTSMode"), ("cgroup", "CgroupnsMode"))


def explain(found: dict[str, Any]) -> str:
    """The page of one container; `found` is its document from `inspect`."""
    name, state = found["Name"].removeprefix("/"), found["State"]
    head = f"{name}  {found['Id'][:12]}  {state['Status']}"
    if state["Pid"]:
        head += f", pid {state['Pid']}"
    sections: Lines = [
        ("Who is root", _ids(found)),
        ("Namespaces", _namespaces(found["HostConfig"])),
        ("Privileges", _privileges(found["HostConfig"])),
        ("Files", _files(found)),
        ("Limits", _limits(found["HostConfig"])),
        ("Network", _network(found)),
        ("When it ends", _end(found)),
        ("Not in force", _lacking(found)),
    ]
    width = max(len(title) for title, _lines in sections)
    out = [head, ""]
    for title, lines in sections:
        for number, line in enumerate(lines):
            out.append(f"  {title if not number else '':{width}}   {one_line(line)}")
    return "\n".join([*out, "", *_drawing(found, name)]) + "\n"


def _ids(found: dict[str, Any]) -> list[str]:
    ids = found["Wherry"]["Ids"]
    user = found["Config"].get("User") or "root"
    runs = f"its first process runs as {user}"
    if ids["Mode"] == "range":
        return [
            f"0 to 65535 in it are {ids['HostStart']} to {ids['HostStart'] + ids['Count'] - 1} of the host, which nobody else has",
            runs,
        ]
    if ids["Mode"] == "host":
        return ["the host's ids: root in it is root of the host", runs]
    if ids["Mode"] == "joined":
        return [f"the ids of container {ids['Container'][:12]}, whose namespaces it joins", runs]
    maps = [
        f"{inside} to {inside + count - 1} in it are {outside} to {outside + count - 1} of the host"
        for inside, outside, count in ids["UidMap"]
    ]
    if ids["Mode"] == "single":
        maps.append("that is the user himself; changes of owner are made to succeed, as there is no other id")
    return [*maps, runs]


def _namespaces(host: dict[str, Any]) -> list[str]:
    own, shared = ["mount"], []
    for kind, key in _MODES:
        mode = host.get(key) or ""
        if mode == "host":
            shared.append(f"{kind}: the host's")
        elif mode.startswith("container:"):
            shared.append(f"{kind}: that of container {mode[10:22]}")
        else:
            own.append(kind)
    return [f"of its own: {', '.join(own)}", *shared]


def _privileges(host: dict[str, Any]) -> list[str]:
    if host["Privileged"]:
        return ["privileged: all capabilities, all devices, no system call is filtered, no path of /proc or /sys is hidden"]
    held = caps.merged(host.get("CapAdd") or (), host.get("CapDrop") or ())
    more, fewer = [c for c in held if c not in caps.DEFAULT], [c for c in caps.DEFAULT if c not in held]
    line = f"{len(held)} of {len(caps.NAMES)} capabilities"
    line += f"; beyond the usual: {', '.join(more)}" if more else ""
    line += f"; without the usual: {', '.join(fewer)}" if fewer else ""
    options = host.get("SecurityOpt") or ()
    seccomp = next((o.partition("=")[2] for o in options if o.startswith("seccomp=")), "")
    calls = {"": "docker's filter of system calls", "unconfined": "no filter of system calls"}.get(
        seccomp, "a filter of system calls of its own"
    )
    lines = [line, calls]
    if any(o.startswith("no-new-privileges") and not o.endswith("false") for o in options):
        lines.append("no program in it gains privileges (no-new-privileges)")
    hidden, kept = host.get("MaskedPaths"), host.get("ReadonlyPaths") or ()
    covered = f"{len(hidden)} paths of /proc and /sys are hidden, {len(kept)} are read-only" if hidden else ""
    lines.append(covered or "nothing of /proc and /sys is hidden")
    return lines


def _files(found: dict[str, Any]) -> list[str]:
    layers = [path for path in found["GraphDriver"]["Data"]["LowerDir"].split(":") if path]
    if found.get("Rootfs"):
        lines = [f"/ is the folder {found['Rootfs']}"]
    else:
        lines = [f"/ is {len(layers)} layer{'s' if len(layers) != 1 else ''} of {found['Config']['Image']}, and one that it writes into"]
    if found["HostConfig"]["ReadonlyRootfs"]:
        lines.append("/ is read-only")
    return lines + [_mount(mount) for mount in found["Mounts"]]


def _mount(mount: dict[str, Any]) -> str:
    source = mount.get("Name") or mount.get("Source") or "memory"
    return f"{mount['Destination']} is {mount['Type']} {source}{'' if mount['RW'] else ', read-only'}"


def _limits(host: dict[str, Any]) -> list[str]:
    found = []
    if host.get("Memory"):
        found.append(f"memory {sizes.human_binary(host['Memory'])}")
    if host.get("NanoCpus"):
        found.append(f"{host['NanoCpus'] / 1e9:g} processors")
    if host.get("CpusetCpus"):
        found.append(f"on processors {host['CpusetCpus']}")
    if host.get("CpuShares"):
        found.append(f"weight {host['CpuShares']}")
    pids = host.get("PidsLimit")
    found.append("as many processes as the host allows" if pids in (-1, 0) else f"{pids or 4096} processes")
    found += [f"{u['Name']} {u['Soft']}" for u in host.get("Ulimits") or ()]
    return [", ".join(found)]


def _network(found: dict[str, Any]) -> list[str]:
    lines = []
    for name, endpoint in found["NetworkSettings"]["Networks"].items():
        address = f": {endpoint['IPAddress']}/{endpoint['IPPrefixLen']}" if endpoint.get("IPAddress") else ""
        lines.append({"none": "none: only its own loopback", "host": "the host's"}.get(name, f"{name}{address}"))
    for port, targets in (found["NetworkSettings"]["Ports"] or {}).items():
        lines += [f"{port} is published at {target['HostIp'] or '*'}:{target['HostPort']}" for target in targets or ()]
    return lines or ["that of another container"]


def _end(found: dict[str, Any]) -> list[str]:
    host = found["HostConfig"]
    policy = host["RestartPolicy"]
    if host["AutoRemove"]:
        return ["it is removed"]
    count = f", {policy['MaximumRetryCount']} times at most" if policy["MaximumRetryCount"] else ""
    return {
        "no": ["it stays as it is until it is started again"],
        "always": ["it is started again, also after a reboot (`system boot`)"],
        "unless-stopped": ["it is started again, also after a reboot (`system boot`), unless somebody stops it"],
        "on-failure": [f"it is started again when its exit code is not 0{count}"],
    }[policy["Name"] or "no"]


def _lacking(found: dict[str, Any]) -> list[str]:
    own = found["Wherry"]
    plain = [f"{path}: seen with the host's ids, it can't be mounted with the container's" for path in own["PlainBinds"]]
    return [*own["NotInForce"], *plain] or ["nothing: all that was asked for is in force"]


def _drawing(found: dict[str, Any], name: str) -> list[str]:
    """From the host inwards."""
    ids = found["Wherry"]["Ids"]
    inner = [f"/ {found['Config']['Image'] or found.get('Rootfs', '')}", *(_mount(mount) for mount in found["Mounts"]), *_network(found)]
    lines = ["host"]
    indent = ""
    levels = [f"monitor {found['Wherry']['MonitorPid']}" if found["Wherry"]["MonitorPid"] else "no monitor: it does not run"]
    if ids["Mode"] not in ("host", "joined"):
        levels.append("user namespace")
    levels.append(f"{name}: {' '.join([found['Path'], *found['Args']])}")
    for level in levels:
        lines.append(f"{indent}└─ {one_line(level)}")
        indent += "   "
    for number, line in enumerate(inner):
        lines.append(f"{indent}{'└' if number == len(inner) - 1 else '├'}─ {one_line(line)}")
    return lines

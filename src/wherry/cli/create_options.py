"""The options of `run` and `create`, and how they become a request in the shape of docker's API."""

from __future__ import annotations

import os

from wherry.cli import health_options, limit_options, noeffect, podman_options
from wherry.cli.options import Option, Parsed
from wherry.errors import InvalidArgument, UsageError
from wherry.model import devices, envfile, mounts, restart, signals, sizes, ulimit
from wherry.model.container import CreateRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.model.network import EndpointRequest
    from wherry.model.secret import SecretSpec

_O = Option


def _stream(text: str) -> str:
    word = text.lower()
    if word not in ("stdin", "stdout", "stderr"):
        raise UsageError("valid streams are STDIN, STDOUT and STDERR")
    return word


def _secret(text: str) -> SecretSpec:
    # Few containers have any: the others' start is spared the import.
    from wherry.model import secret

    return secret.parse(text)


def _extra_host(text: str) -> str:
    """name:ip or name=ip; the address may stand in brackets."""
    from wherry.model.ports import is_address

    mark = "=" if "=" in text else ":"
    name, found, address = text.partition(mark)
    if not found or not name:
        raise UsageError(f'bad format for add-host: "{text}"')
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if address != "host-gateway" and not is_address(address):
        raise UsageError(f'invalid IP address in add-host: "{address}"')
    return f"{name}:{address}"


def _server(text: str) -> str:
    """A name server's address, with #port or %zone."""
    from wherry.model.ports import is_address

    if not is_address(text.partition("#")[0].partition("%")[0]):
        raise UsageError(f"{text} is not an ip address")
    return text


def _sysctl(text: str) -> str:
    """The form; which names a container may have is the engine's to say."""
    if not all(text.partition("=")):
        raise UsageError(f"sysctl '{text}' is not allowed")
    return text


OPTIONS: tuple[Option, ...] = (
    _O("add-host", kind="list", check=_extra_host, help="Add a custom host-to-IP mapping (host:ip)"),
    _O("annotation", kind="list", placeholder="map", help="Add an annotation to the container's spec"),
    _O("attach", "a", "list", check=_stream, help="Attach to STDIN, STDOUT or STDERR"),
    _O("cap-add", kind="list", help="Add Linux capabilities"),
    _O("cap-drop", kind="list", help="Drop Linux capabilities"),
    _O("cgroupns", help="Cgroup namespace to use (host|private)"),
    _O("cidfile", help="Write the container ID to the file"),
    _O("detach-keys", help="Override the key sequence for detaching a container"),
    _O("device", kind="list", help="Add a host device to the container"),
    _O("domainname", help="Container NIS domain name"),
    _O("entrypoint", help="Overwrite the default ENTRYPOINT of the image"),
    _O("env", "e", "list", check=envfile.variable, help="Set environment variables"),
    _O("env-file", kind="list", help="Read in a file of environment variables"),
    _O("expose", kind="list", help="Note a port or a range of ports in the container's config"),
    _O("gpus", check=devices.gpus, help="GPU devices to add to the container ('all' to pass all GPUs)"),
    _O("group-add", kind="list", help="Add additional groups to join"),
    _O("hostname", "h", help="Container host name"),
    _O("init", kind="bool", help="Run an init inside the container that forwards signals and reaps processes"),
    _O("interactive", "i", "bool", help="Keep STDIN open even if not attached"),
    _O("ipc", help="IPC mode to use (private|shareable|none|host|container:NAME)"),
    _O("label", "l", "list", check=envfile.label, help="Set meta data on a container"),
    _O("label-file", kind="list", help="Read in a line delimited file of labels"),
    _O("log-driver", help="Logging driver for the container (json-file|local|journald|syslog|none)"),
    _O("log-opt", kind="list", help="Log driver options (max-size, max-file, tag, labels, env, mode, syslog-address, …)"),
    _O("mount", kind="list", placeholder="mount", check=mounts.parse_mount, late=True, help="Attach a filesystem mount to the container"),
    _O("name", help="Assign a name to the container"),
    _O("dns", kind="list", check=_server, help="Set custom DNS servers"),
    _O("dns-option", kind="list", help="Set DNS options"),
    _O("dns-opt", kind="list", hidden=True),
    _O("dns-search", kind="list", help="Set custom DNS search domains"),
    _O("ip", help="IPv4 address (e.g., 172.30.100.104)"),
    _O("ip6", help="IPv6 address (e.g., 2001:db8::33)"),
    _O("link", kind="list", help="Add link to another container"),
    _O("mac-address", help="Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
    _O("network", kind="list", placeholder="network", help="Connect a container to a network (NAME|none|host|container:NAME)"),
    _O("net", kind="list", hidden=True),
    _O("network-alias", kind="list", help="Add network-scoped alias for the container"),
    _O("net-alias", kind="list", hidden=True),
    _O("publish", "p", "list", help="Publish a container's port(s) to the host"),
    _O("publish-all", "P", "bool", help="Publish all exposed ports to random ports"),
    _O("oom-score-adj", kind="int", default=0, help="Tune host's OOM preferences (-1000 to 1000)"),
    _O("pid", help="PID namespace to use (host|container:NAME)"),
    _O("platform", help="Set platform of the image"),
    _O("privileged", kind="bool", help="Give extended privileges to this container"),
    _O("pull", default="missing", help='Pull image before running ("always", "missing", "never")'),
    _O("quiet", "q", "bool", help="Suppress the pull output"),
    _O("read-only", kind="bool", help="Mount the container's root filesystem as read only"),
    _O("restart", default="no", help="Restart policy to apply when a container exits"),
    _O("rm", kind="bool", help="Automatically remove the container when it exits"),
    _O(
        "secret",
        kind="list",
        check=_secret,
        help="Secret to give to the container (NAME[,type=mount|env][,target=…][,uid=…][,gid=…][,mode=…])",
    ),
    _O("security-opt", kind="list", help="Security options"),
    _O("shm-size", placeholder="bytes", check=sizes.parse_bytes, help="Size of /dev/shm"),
    _O("stop-signal", help="Signal to stop the container"),
    _O("stop-timeout", kind="int", default=None, help="Timeout (in seconds) to stop a container"),
    _O("sysctl", kind="list", placeholder="map", check=_sysctl, help="Sysctl options"),
    _O("tmpfs", kind="list", help="Mount a tmpfs directory"),
    _O("tty", "t", "bool", help="Allocate a pseudo-TTY"),
    _O("ulimit", kind="list", placeholder="ulimit", check=ulimit.parse, help="Ulimit options"),
    _O("user", "u", help="Username or UID (format: <name|uid>[:<group|gid>])"),
    _O("userns", help="User namespace to use (host)"),
    _O("uts", help="UTS namespace to use (host)"),
    _O("volume", "v", "list", help="Bind mount a volume, a folder or a file"),
    _O("volume-driver", help="Volume driver for the container's volumes"),
    _O("volumes-from", kind="list", help="Mount the volumes of another container"),
    _O("workdir", "w", help="Working directory inside the container"),
    *limit_options.ALL,
    *health_options.OPTIONS,
    *podman_options.OPTIONS,
)
RUN_OPTIONS: tuple[Option, ...] = (
    *OPTIONS,
    _O("detach", "d", "bool", help="Run container in background and print container ID"),
    _O("sig-proxy", kind="bool", default=True, help="Proxy received signals to the process"),
)

OPTIONS += noeffect.OPTIONS
RUN_OPTIONS += noeffect.OPTIONS


def request(parsed: Parsed, *, detach: bool) -> CreateRequest:
    """What `run` and `create` ask the engine for. Raises UsageError, InvalidArgument."""
    image, command = parsed.words[0], parsed.words[1:]
    bindings, exposed = _ports(parsed)
    mode, endpoints = _networks(parsed)
    if parsed.pull not in ("always", "missing", "never", "newer"):
        raise UsageError(f'invalid pull option: \'{parsed.pull}\': must be one of "always", "missing" or "never"')
    if not parsed.rootfs:
        _check_image(image)
    config, host, mounts = _config(parsed, image, command, attached_streams(parsed), detach), _host(parsed), list(_mounts(parsed))
    more: dict[str, Any] = {}
    if parsed.given & podman_options.NAMES:
        more = podman_options.apply(parsed, config, host, mounts)
    return CreateRequest(
        image="" if parsed.rootfs else image,
        config=config | {"ExposedPorts": exposed},
        host=host | {"NetworkMode": mode, "PortBindings": bindings},
        name=parsed.name,
        mounts=tuple(mounts),
        networks=endpoints,
        pull=parsed.pull,
        platform=parsed.platform,
        cidfile=parsed.cidfile,
        quiet=parsed.quiet,
        secrets=tuple(parsed.secret),
        **more,
    )


def _check_image(image: str) -> None:
    from wherry.model import reference

    if len(image.removeprefix("sha256:")) == 64:
        return
    try:
        reference.parse(image)
    except InvalidArgument as error:
        raise UsageError(error.message) from None


def attached_streams(parsed: Parsed) -> frozenset[str]:
    """What an attached run connects: stdout and stderr, stdin with -i, or just what -a names."""
    return frozenset(parsed.attach or ("stdout", "stderr", "stdin")[: 3 if parsed.interactive else 2])


def _config(parsed: Parsed, image: str, command: list[str], attach: frozenset[str], detach: bool) -> dict[str, Any]:
    env: list[str] = []
    for path in parsed.env_file:
        env += envfile.read_file(path)
    env += parsed.env
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
        "Volumes": {m.target: {} for m in map(mounts.parse_volume, parsed.volume) if m.type == "volume" and not m.source} or None,
        "WorkingDir": parsed.workdir,
        "Entrypoint": entrypoint,
        "OnBuild": None,
        "Labels": envfile.labels(labels),
    }
    check = health_options.healthcheck(parsed)
    if check is not None:
        config["Healthcheck"] = check
    if parsed.workdir and not parsed.workdir.startswith("/"):
        raise InvalidArgument(f"the working directory '{parsed.workdir}' is invalid, it needs to be an absolute path")
    if parsed.stop_signal:
        if signals.number(parsed.stop_signal) is None:
            raise InvalidArgument(f"invalid signal: {parsed.stop_signal}")
        config["StopSignal"] = parsed.stop_signal
    if parsed.stop_timeout is not None:
        config["StopTimeout"] = parsed.stop_timeout
    return config


def _hostname(name: str) -> str:
    if name and (len(name) > 64 or not all(c.isalnum() and c.isascii() or c in "-._" for c in name)):
        raise InvalidArgument(f"invalid hostname format: {name}")
    return name


def _ports(parsed: Parsed) -> tuple[dict[str, list[dict[str, str]]], dict[str, dict[str, str]] | None]:
    """(PortBindings, ExposedPorts) of -p and --expose: what is published is exposed."""
    if not parsed.publish and not parsed.expose:
        return {}, None
    from wherry.model import ports

    bindings: dict[str, list[dict[str, str]]] = {}
    exposed: dict[str, dict[str, str]] = {}
    try:
        for text in parsed.publish:
            for port in ports.parse_publish(text):
                exposed[port.key] = {}
                bindings.setdefault(port.key, []).append({"HostIp": port.host_ip, "HostPort": port.host_port})
        for text in parsed.expose:
            exposed.update((port, {}) for port in ports.parse_expose(text))
    except InvalidArgument as error:
        raise UsageError(error.message) from None
    return bindings, exposed


def _networks(parsed: Parsed) -> tuple[str, tuple[EndpointRequest, ...]]:
    """(NetworkMode, the endpoints that are asked for)."""
    given = [*parsed.network, *parsed.net]
    aliases = [*parsed.network_alias, *parsed.net_alias]
    if not (given or aliases or parsed.ip or parsed.ip6 or parsed.mac_address):
        return "default", ()
    from wherry.cli import network_options

    return network_options.endpoints(given, aliases, parsed.ip, parsed.ip6, parsed.mac_address, parsed.link)


def _mounts(parsed: Parsed) -> tuple[mounts.MountSpec, ...]:
    found = [mounts.parse_volume(text) for text in parsed.volume]
    found += parsed.mount
    found += [mounts.parse_tmpfs(text) for text in parsed.tmpfs]
    return tuple(found)


def _host(parsed: Parsed) -> dict[str, Any]:
    if parsed.log_driver == "none" and parsed.log_opt:
        raise UsageError("invalid logging opts for driver none")
    if parsed.rm and parsed.restart not in ("", "no"):
        raise UsageError("conflicting options: cannot specify both --restart and --rm")
    return {
        "Binds": [text for text in parsed.volume if ":" in text] or None,
        "ContainerIDFile": parsed.cidfile,
        "LogConfig": {"Type": parsed.log_driver, "Config": _pairs(parsed.log_opt)},
        "RestartPolicy": restart.parse(parsed.restart),
        "AutoRemove": bool(parsed.rm),
        "VolumeDriver": parsed.volume_driver,
        "VolumesFrom": list(parsed.volumes_from) or None,
        "Annotations": _pairs(parsed.annotation) or None,
        "CapAdd": list(parsed.cap_add) or None,
        "CapDrop": list(parsed.cap_drop) or None,
        "CgroupnsMode": _mode("cgroupns", "CGROUP", parsed.cgroupns, ("", "host", "private")),
        "Dns": list(parsed.dns),
        "DnsOptions": [*parsed.dns_option, *parsed.dns_opt],
        "DnsSearch": list(parsed.dns_search),
        "ExtraHosts": parsed.add_host or None,
        "GroupAdd": list(parsed.group_add) or None,
        "IpcMode": _ipc(parsed.ipc),
        "Cgroup": "",
        "Links": list(parsed.link) or None,
        "OomScoreAdj": parsed.oom_score_adj,
        "PidMode": _mode("pid", "PID", parsed.pid, ("", "host"), joins=True),
        "Privileged": bool(parsed.privileged),
        "PublishAllPorts": bool(parsed.publish_all),
        "ReadonlyRootfs": bool(parsed.read_only),
        "SecurityOpt": [_security(text) for text in parsed.security_opt] or None,
        "UTSMode": _mode("uts", "UTS", parsed.uts, ("", "host")),
        "UsernsMode": parsed.userns,
        "ShmSize": parsed.shm_size or 64 << 20,
        "Sysctls": _pairs(parsed.sysctl),
        "Tmpfs": {m.target: ",".join(m.options) for m in (mounts.parse_tmpfs(t) for t in parsed.tmpfs)},
        "Runtime": "wherry",
        "Isolation": "",
        "CgroupParent": "",
        "Devices": [devices.parse(text) for text in parsed.device if not devices.is_cdi(text)],
        "DeviceCgroupRules": None,
        "DeviceRequests": devices.requests(parsed.device, parsed.gpus) or None,
        "Ulimits": parsed.ulimit,
        **limit_options.host_config(parsed),
        **({"HealthOnFailure": parsed.health_on_failure} if "health-on-failure" in parsed.given else {}),
        "Init": bool(parsed.init) if "init" in parsed.given else None,
    }


def _mode(flag: str, shown: str, value: str, allowed: tuple[str, ...], *, joins: bool = False) -> str:
    if value in allowed or joins and value.startswith("container:") and value != "container:":
        return value
    raise UsageError(f"--{flag}: invalid {shown} mode")


def _ipc(value: str) -> str:
    if value in ("", "private", "shareable", "none", "host") or value.startswith("container:") and value != "container:":
        return value
    raise InvalidArgument(f"invalid IPC mode: {value}")


def _pairs(texts: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def _security(text: str) -> str:
    """A profile is taken along as it is now, as docker does: a later start doesn't depend on the file."""
    name, mark, value = text.partition("=")
    if not mark:
        name, mark, value = text.partition(":")
    if not mark and text != "no-new-privileges":
        raise UsageError(f'Invalid --security-opt: "{text}"')
    if name != "seccomp" or value in ("unconfined", "builtin", "") or value.startswith("{"):
        return text
    try:
        with open(value, encoding="utf-8") as file:
            return f"seccomp={file.read(8 << 20)}"
    except (OSError, UnicodeDecodeError) as error:
        reason = os.strerror(error.errno or 0).lower() if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"opening seccomp profile ({value}) failed: open {value}: {reason}") from error

"""The options of `build`, and what they ask of the engine. `buildah build` and `bake` have the same ones."""

from __future__ import annotations

import os

from wherry.cli import limit_options
from wherry.cli.commands import transfer_options
from wherry.cli.options import Option, Parsed
from wherry.engine import build_output, build_wishes
from wherry.engine.build import BuildRequest
from wherry.engine.build_request import Begin, Shape
from wherry.engine.build_wishes import RunWishes
from wherry.errors import InvalidArgument, Unsupported, UsageError
from wherry.model import sizes, ulimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LIMITS = ("cpu-period", "cpu-quota", "cpu-shares", "cpuset-cpus", "cpuset-mems", "memory", "memory-swap")
OPTIONS = (
    *(option for option in limit_options.CHANGEABLE if option.name in _LIMITS),
    *(option for option in transfer_options.OPTIONS if option.name != "disable-content-trust"),
    Option("add-host", kind="list", help='Add a custom host-to-IP mapping (format: "host:ip")'),
    Option("allow", kind="list", help='Allow extra privileged entitlement (e.g. "security.insecure")'),
    Option("annotation", kind="list", help="Add annotation to the image"),
    Option("arch", hidden=True),
    Option("attest", kind="list", hidden=True),
    Option("build-arg", kind="list", help="Set build-time variables"),
    Option("build-arg-file", kind="list", help="Read build-time variables from a file"),
    Option("build-context", kind="list", help='Additional build contexts (e.g. "name=path")'),
    Option("builder", hidden=True),
    Option("cache-from", kind="list", help='External cache sources (e.g. "user/app:cache", "type=local,src=path/to/dir")'),
    Option("cache-mount", kind="list", help='A folder of the host as a cache mount (format: "id=path")'),
    Option("cache-to", kind="list", help='Cache export destinations (e.g. "user/app:cache", "type=local,dest=path/to/dir")'),
    Option("cache-ttl", hidden=True),
    Option("call", help='Set method for evaluating build ("check", "outline", "targets")'),
    Option("cap-add", kind="list", help="Add Linux capabilities to RUN steps"),
    Option("cap-drop", kind="list", help="Drop Linux capabilities of RUN steps"),
    Option("check", kind="bool", help='Shorthand for "--call=check"'),
    Option("cgroup-parent", help="Parent control group of RUN steps"),
    Option("cgroupns", hidden=True),
    Option("compat-volumes", kind="bool", hidden=True),
    Option("compress", kind="bool", hidden=True),
    Option("compression-format", help="Compression of layers (gzip, zstd)"),
    Option("compression-level", kind="int", default=-1, hidden=True),
    Option("created-annotation", kind="bool", default=True, hidden=True),
    Option("debug-shell", kind="bool", help="Open a shell in the root of a step that failed"),
    Option("disable-compression", "D", kind="bool", hidden=True),
    Option("env", kind="list", help="Set environment variables of the image"),
    Option("file", "f", help='Name of the Dockerfile (default: "PATH/Dockerfile")'),
    Option("force-rm", kind="bool", hidden=True),
    Option("force-compression", kind="bool", hidden=True),
    Option("format", help='Form of the manifest ("oci", "docker")'),
    Option("from", help="Image instead of the one that the first FROM names"),
    Option("http-proxy", kind="bool", default=True, hidden=True),
    Option("identity-label", kind="bool", default=True, hidden=True),
    Option("iidfile", help="Write the image ID to a file"),
    Option("ignorefile", help="Another file than .dockerignore"),
    Option("inherit-annotations", kind="bool", default=True, hidden=True),
    Option("inherit-labels", kind="bool", default=True, help="Keep the labels of the base image"),
    Option("isolation", hidden=True),
    Option("jobs", kind="int", default=0, help="How many steps run at once"),
    Option("label", kind="list", help="Set metadata for an image"),
    Option("layers", kind="bool", default=True, help="Cache steps, a layer each; without it one layer over the base"),
    Option("load", kind="bool", help="Keep the image in the store, which is the default"),
    Option("logfile", help="Write the progress to a file"),
    Option("manifest", help="Name of a manifest list that the image is added to"),
    Option("metadata-file", help="Write build result metadata to a file"),
    Option("network", default="default", help='Network of RUN steps ("default", "host", "none")'),
    Option("no-cache", kind="bool", help="Do not use cache when building the image"),
    Option("no-cache-filter", kind="list", help="Do not cache specified stages"),
    Option("omit-history", kind="bool", help="Leave the history of the image out"),
    Option("on-error", help='What to do when a step fails ("shell": open one in its root)'),
    Option("os", hidden=True),
    Option("output", "o", "list", help='Output destination (format: "type=local,dest=path")'),
    Option("platform", kind="list", help="Set target platform for build; several make an index"),
    Option("progress", default="auto", help='Set type of progress output ("auto", "plain", "tty", "rawjson", "quiet")'),
    Option("provenance", hidden=True),
    Option("pull", kind="maybe", default="missing", help="Always attempt to pull all referenced images"),
    Option("push", kind="bool", help="Send the image to its registry"),
    Option("quiet", "q", "bool", help="Suppress the build output and print image ID on success"),
    Option("resource", kind="list", help='Limits of RUN steps (e.g. "memory=2g,cpu-quota=50000")'),
    Option("rewrite-timestamp", kind="bool", help="Set the times of files that steps write, too (always, with a time given)"),
    Option("rm", kind="bool", default=True, hidden=True),
    Option("sbom", hidden=True),
    Option("secret", kind="list", help='Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")'),
    Option("security-opt", kind="list", help="Security options of RUN steps"),
    Option("shm-size", help='Shared memory size for RUN steps (e.g. "64m")'),
    Option("skip-unused-stages", kind="bool", default=True, help="Leave stages out that the target doesn't need"),
    Option("source-date-epoch", help="Time of the image in seconds since 1970"),
    Option("squash", kind="bool", help="Make the new layers into one"),
    Option("squash-all", kind="bool", help="Make all layers into one"),
    Option("ssh", kind="list", help='SSH agent socket to expose to the build (format: "default|<id>[=<socket>]")'),
    Option("tag", "t", "list", help='Name and optionally a tag (format: "name:tag")'),
    Option("target", help="Set the target build stage to build"),
    Option("timestamp", help="Time of the image in seconds since 1970, as podman spells it"),
    Option("ulimit", kind="list", help="Ulimit options of RUN steps"),
    Option("unsetenv", kind="list", help="Unset environment variables of the image"),
    Option("unsetlabel", kind="list", help="Unset labels of the base image"),
    Option("variant", hidden=True),
    Option("volume", "v", "list", help="Bind mount a volume into RUN steps"),
)


def request(parsed: Parsed) -> BuildRequest:
    """Raises UsageError, InvalidArgument, Unsupported."""
    _refuse(parsed)
    outputs = tuple(build_output.parse(text) for text in parsed.output)
    if parsed.push and not any(output.type == "image" for output in outputs):
        outputs = (*outputs, build_output.parse("type=registry"))
    elif parsed.push:
        outputs = tuple(o.replace(push=True) if o.type == "image" else o for o in outputs)
    return BuildRequest(
        parsed.words[0],
        dockerfile=parsed.file,
        tags=tuple(parsed.tag),
        build_args=_build_args(parsed),
        target=parsed.target,
        no_cache=parsed.no_cache or not parsed.layers,
        no_cache_stages=tuple(name.lower() for text in parsed.no_cache_filter for name in text.split(",")),
        pull=_pull(parsed),
        platform=_platform(parsed),
        labels=dict(_pair(text) for text in parsed.label),
        contexts=dict(_pair(text) for text in parsed.build_context),
        run=_run_wishes(parsed),
        outputs=outputs,
        created_ns=_created_ns(parsed),
        jobs=parsed.jobs,
        ignorefile=parsed.ignorefile,
        begin=_begin(parsed),
        shape=_shape(parsed, outputs),
        access=transfer_options.access(parsed),
        cache_from=tuple(build_wishes.cache(text, "cache-from") for text in parsed.cache_from),
        cache_to=tuple(build_wishes.cache(text, "cache-to") for text in parsed.cache_to),
        manifest=parsed.manifest,
        skip_unused=parsed.skip_unused_stages,
        keep_failed=parsed.debug_shell or parsed.on_error == "shell",
    )


def _refuse(parsed: Parsed) -> None:
    for name, value in (("provenance", parsed.provenance), ("sbom", parsed.sbom)):
        if value and value.lower() not in ("false", "0", "mode=none"):
            raise Unsupported(f"--{name}={value}: attestations are not there yet", hint=f"leave it out, or give --{name}=false")
    for text in parsed.attest:
        if "disabled=true" not in text.split(","):
            raise Unsupported(f"--attest {text}: attestations are not there yet", hint="leave it out")
    if parsed.isolation not in ("", "default", "oci", "rootless"):
        raise Unsupported(
            f"--isolation {parsed.isolation}: there is one kind of it: a container in its own namespaces", hint="leave it out"
        )
    if parsed.builder not in ("", "default"):
        raise InvalidArgument(f'no builder "{parsed.builder}" found: there is one, called default')
    if parsed.on_error not in ("", "shell"):
        raise UsageError(f"--on-error {parsed.on_error}: it is shell")


def _pull(parsed: Parsed) -> str:
    """docker's switch and podman's policy."""
    value = str(parsed.pull).lower()
    found = {"true": "always", "1": "always", "false": "missing", "0": "missing", "ifmissing": "missing", "ifnewer": "newer"}.get(
        value, value
    )
    if found not in ("always", "missing", "never", "newer"):
        raise UsageError(f'invalid argument "{parsed.pull}" for "--pull" flag: it is true, false, always, missing, never or newer')
    return found


def _platform(parsed: Parsed) -> str:
    """Several are joined by commas."""
    if parsed.arch or parsed.os or parsed.variant:
        from wherry.model import platform

        own = platform.host()
        words = (parsed.os or own.os, parsed.arch or own.architecture, parsed.variant)
        return "/".join(word for word in words if word)
    return ",".join(part.strip() for text in parsed.platform for part in text.split(",") if part.strip())


def _begin(parsed: Parsed) -> Begin:
    env = []
    for text in parsed.env:
        name, equals, _value = text.partition("=")
        if equals:
            env.append(text)
        elif name in os.environ:
            env.append(f"{name}={os.environ[name]}")
    return Begin(getattr(parsed, "from"), tuple(env), tuple(parsed.unsetenv), tuple(parsed.unsetlabel), parsed.inherit_labels)


def _shape(parsed: Parsed, outputs: tuple[build_output.Output, ...]) -> Shape:
    squash = "all" if parsed.squash_all else "new" if parsed.squash or not parsed.layers else ""
    found = Shape(squash, not parsed.omit_history, parsed.format, tuple(parsed.annotation), parsed.compression_format)
    if parsed.compression_level >= 0:
        found = found.replace(level=parsed.compression_level)
    if parsed.disable_compression:
        found = found.replace(compression="uncompressed")
    found = found.replace(force_compression=parsed.force_compression)
    for output in outputs:
        for key, value in output.options.items():
            found = _with_option(found, key, value)
    return found


def _with_option(shape: Shape, key: str, value: str) -> Shape:
    if key.startswith("annotation"):
        level, _, name = key.partition(".")
        kind = level.removeprefix("annotation").removeprefix("-") or "manifest"
        return shape.replace(annotations=(*shape.annotations, f"{kind}:{name}={value}"))
    if key == "compression":
        if value == "estargz":
            raise Unsupported("compression=estargz is not there", hint="use zstd or gzip")
        return shape.replace(compression=value)
    if key == "compression-level":
        if not value.isdigit():
            raise InvalidArgument(f"compression-level={value}: it is a number")
        return shape.replace(level=int(value))
    if key == "force-compression":
        return shape.replace(force_compression=value.lower() in ("true", "1"))
    if key == "oci-mediatypes":
        return shape.replace(format="oci" if value.lower() in ("true", "1") else "docker")
    return shape


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _build_args(parsed: Parsed) -> dict[str, str]:
    """A name without a value takes the caller's; one that isn't set there is not given."""
    found: dict[str, str] = {}
    for path in parsed.build_arg_file:
        try:
            with open(path, encoding="utf-8") as file:
                lines = file.read().splitlines()
        except OSError as error:
            raise InvalidArgument(f"open {path}: {os.strerror(error.errno or 0).lower()}") from error
        found.update(_pair(line.strip()) for line in lines if line.strip() and not line.lstrip().startswith("#"))
    for text in parsed.build_arg:
        name, equals, value = text.partition("=")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return found


def _created_ns(parsed: Parsed) -> int:
    text = parsed.timestamp or parsed.source_date_epoch or os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return -1
    if not text.isascii() or not text.isdigit():
        raise UsageError(f'invalid time "{text}": it is a number of seconds since 1970')
    return int(text) * 1_000_000_000


def _run_wishes(parsed: Parsed) -> RunWishes:
    return RunWishes(
        network=parsed.network,
        extra_hosts=tuple(_host(text) for text in parsed.add_host),
        shm_size=sizes.parse_bytes(parsed.shm_size) if parsed.shm_size else 0,
        ulimits=tuple(ulimit.parse(text) for text in parsed.ulimit),
        cap_add=tuple(parsed.cap_add),
        cap_drop=tuple(parsed.cap_drop),
        security_opt=tuple(parsed.security_opt),
        volumes=tuple(_volume(text) for text in parsed.volume),
        cache_folders=dict(_cache_folder(text) for text in parsed.cache_mount),
        limits=_limits(parsed),
        cgroup_parent=parsed.cgroup_parent,
        allow=tuple(name for text in parsed.allow for name in text.split(",")),
        secrets=dict(_secret(text) for text in parsed.secret),
        ssh=dict(_agent(text) for text in parsed.ssh),
    )


def _volume(text: str) -> tuple[str, str, bool]:
    """SOURCE:TARGET[:OPTIONS]"""
    parts = text.split(":")
    if len(parts) not in (2, 3) or not parts[1].startswith("/"):
        raise UsageError(f"invalid volume {text!r}: it is /SOURCE:/TARGET[:ro]")
    options = parts[2].split(",") if len(parts) == 3 else []
    for option in options:
        if option not in ("ro", "rw", "z", "Z", "rbind", "bind", "private", "rprivate"):
            raise Unsupported(f"volume option {option!r} is not supported for builds", hint="use ro or rw")
    if not os.path.exists(parts[0]):
        raise InvalidArgument(f"failed to stat {parts[0]}: no such file or directory")
    return os.path.realpath(parts[0]), parts[1], "ro" in options


_RESOURCES = {
    "memory": "Memory",
    "memory-swap": "MemorySwap",
    "cpu-shares": "CpuShares",
    "cpu-period": "CpuPeriod",
    "cpu-quota": "CpuQuota",
    "cpuset-cpus": "CpusetCpus",
    "cpuset-mems": "CpusetMems",
}


def _limits(parsed: Parsed) -> dict[str, Any]:
    """HostConfig's keys for docker's flags of the classic builder, and for buildx's --resource."""
    found = limit_options.changes(parsed)
    for text in parsed.resource:
        for field in text.split(","):
            key, _, value = field.partition("=")
            if key not in _RESOURCES or not value:
                raise UsageError(f"invalid resource {field!r}: it is one of {', '.join(_RESOURCES)}, with =VALUE")
            if key.startswith("memory"):
                found[_RESOURCES[key]] = sizes.parse_bytes(value)
            elif key.startswith("cpuset"):
                found[_RESOURCES[key]] = value
            elif value.lstrip("-").isdigit():
                found[_RESOURCES[key]] = int(value)
            else:
                raise UsageError(f"invalid resource {field!r}: it is a number")
    return found


def _cache_folder(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not name or not equals or not os.path.isdir(path):
        raise InvalidArgument(f"invalid cache mount {text!r}: it is ID=FOLDER, and the folder must be there")
    return name, os.path.realpath(path)


def _host(text: str) -> str:
    name, mark, address = text.partition(":")
    if "=" in name:
        name, mark, address = text.partition("=")
    if not (name and mark and address):
        raise UsageError(f'bad format for add-host: "{text}"')
    return f"{name}:{address.strip('[]')}"


def _secret(text: str) -> tuple[str, bytes]:
    """id=…,src=FILE; id=…,env=VARIABLE; the id alone: a variable or a file of that name."""
    values = dict(_pair(field) for field in text.split(","))
    name = values.get("id", "")
    if not name:
        raise UsageError(f'invalid secret "{text}": it needs an id')
    for key in values:
        if key not in ("id", "src", "source", "env", "type"):
            raise UsageError(f"unexpected key '{key}' in '{key}={values[key]}'")
    path = values.get("src") or values.get("source") or ""
    variable = values.get("env") or (path if values.get("type") == "env" else "")
    if not variable and not path and name in os.environ:
        variable = name
    if variable:
        if variable not in os.environ:
            raise InvalidArgument(f"failed to get secret {name}: environment variable {variable} is not set")
        return name, os.fsencode(os.environ[variable])
    try:
        with open(path or name, "rb") as file:
            return name, file.read(500 << 10)
    except OSError as error:
        raise InvalidArgument(f"failed to stat {path or name}: {os.strerror(error.errno or 0).lower()}") from error


def _agent(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    path = path or os.environ.get("SSH_AUTH_SOCK", "")
    if not path:
        raise InvalidArgument(f"invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set, or name one: --ssh {name}=PATH")
    if not os.path.exists(path):
        raise InvalidArgument(f"failed to stat {path}: no such file or directory")
    import stat

    if not stat.S_ISSOCK(os.stat(path).st_mode):
        raise Unsupported(f"--ssh {text}: {path} is not an agent's socket", hint="start an agent and add the key to it")
    return name, os.path.realpath(path)

"""The options of `build`, and what they ask of the engine. `buildah build` and `bake` have the same ones."""

from __future__ import annotations

import os

from wherry.cli.options import Option, Parsed
from wherry.engine import build_output
from wherry.engine.build import BuildRequest
from wherry.engine.build_run import RunWishes
from wherry.errors import InvalidArgument, Unsupported, UsageError
from wherry.model import sizes, ulimit

OPTIONS = (
    Option("add-host", kind="list", help='Add a custom host-to-IP mapping (format: "host:ip")'),
    Option("allow", kind="list", help='Allow extra privileged entitlement (e.g. "security.insecure")'),
    Option("build-arg", kind="list", help="Set build-time variables"),
    Option("build-arg-file", kind="list", help="Read build-time variables from a file"),
    Option("build-context", kind="list", help='Additional build contexts (e.g. "name=path")'),
    Option("call", help='Set method for evaluating build ("check", "outline", "targets")'),
    Option("cap-add", kind="list", help="Add Linux capabilities to RUN steps"),
    Option("cap-drop", kind="list", help="Drop Linux capabilities of RUN steps"),
    Option("check", kind="bool", help='Shorthand for "--call=check"'),
    Option("compress", kind="bool", hidden=True),
    Option("file", "f", help='Name of the Dockerfile (default: "PATH/Dockerfile")'),
    Option("force-rm", kind="bool", hidden=True),
    Option("format", hidden=True),
    Option("iidfile", help="Write the image ID to a file"),
    Option("ignorefile", help="Another file than .dockerignore"),
    Option("jobs", kind="int", default=0, help="How many steps run at once"),
    Option("label", kind="list", help="Set metadata for an image"),
    Option("layers", kind="bool", default=True, hidden=True),
    Option("load", kind="bool", help="Keep the image in the store, which is the default"),
    Option("metadata-file", help="Write build result metadata to a file"),
    Option("network", default="default", help='Network of RUN steps ("default", "host", "none")'),
    Option("no-cache", kind="bool", help="Do not use cache when building the image"),
    Option("no-cache-filter", kind="list", help="Do not cache specified stages"),
    Option("output", "o", "list", help='Output destination (format: "type=local,dest=path")'),
    Option("platform", help="Set target platform for build"),
    Option("progress", default="auto", help='Set type of progress output ("auto", "plain", "quiet")'),
    Option("pull", kind="bool", help="Always attempt to pull all referenced images"),
    Option("push", kind="bool", help="Send the image to its registry"),
    Option("quiet", "q", "bool", help="Suppress the build output and print image ID on success"),
    Option("rm", kind="bool", default=True, hidden=True),
    Option("secret", kind="list", help='Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")'),
    Option("security-opt", kind="list", help="Security options of RUN steps"),
    Option("shm-size", help='Shared memory size for RUN steps (e.g. "64m")'),
    Option("source-date-epoch", help="Time of the image in seconds since 1970"),
    Option("ssh", kind="list", help='SSH agent socket to expose to the build (format: "default|<id>[=<socket>]")'),
    Option("tag", "t", "list", help='Name and optionally a tag (format: "name:tag")'),
    Option("target", help="Set the target build stage to build"),
    Option("timestamp", help="Time of the image in seconds since 1970, as podman spells it"),
    Option("ulimit", kind="list", help="Ulimit options of RUN steps"),
)


def request(parsed: Parsed) -> BuildRequest:
    """Raises UsageError, InvalidArgument, Unsupported."""
    outputs = tuple(build_output.parse(text) for text in parsed.output)
    if parsed.push:
        outputs = (*outputs, build_output.parse("type=registry"))
    return BuildRequest(
        parsed.words[0],
        dockerfile=parsed.file,
        tags=tuple(parsed.tag),
        build_args=_build_args(parsed),
        target=parsed.target,
        no_cache=parsed.no_cache or not parsed.layers,
        no_cache_stages=tuple(name.lower() for text in parsed.no_cache_filter for name in text.split(",")),
        pull="always" if parsed.pull else "missing",
        platform=_platform(parsed.platform),
        labels=dict(_pair(text) for text in parsed.label),
        contexts=dict(_pair(text) for text in parsed.build_context),
        run=_run_wishes(parsed),
        outputs=outputs,
        created_ns=_created_ns(parsed),
        jobs=parsed.jobs,
        ignorefile=parsed.ignorefile,
    )


def _platform(text: str) -> str:
    if "," in text:
        raise Unsupported(
            f"--platform {text}: several at once are not supported yet", hint="build one after the other, join them with `manifest`"
        )
    return text


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
        allow=tuple(name for text in parsed.allow for name in text.split(",")),
        secrets=dict(_secret(text) for text in parsed.secret),
        ssh=dict(_agent(text) for text in parsed.ssh),
    )


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

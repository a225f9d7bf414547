"""Typed instructions: what a node of each kind says. Variables are not expanded yet; that needs the stage's state.

Error texts are those of BuildKit's `instructions` package.
"""

from __future__ import annotations

import re

from wherry.build import flags, lex, mounts
from wherry.build.lex import Heredoc
from wherry.build.parse import INSTRUCTIONS, Node
from wherry.errors import InvalidArgument
from wherry.model import duration
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*\Z")


class Instruction(Record):
    """`node` has the text, the lines and the comments."""

    node: Node

    @property
    def word(self) -> str:
        return self.node.name.upper()


class From(Instruction):
    image: str
    name: str = ""
    platform: str = ""


class Arg(Instruction):
    """(name, default); None: no default."""

    pairs: tuple[tuple[str, str | None], ...]


class Env(Instruction):
    pairs: tuple[tuple[str, str], ...]
    old_form: bool = False


class Label(Instruction):
    pairs: tuple[tuple[str, str], ...]
    old_form: bool = False


class Command(Instruction):
    """RUN, CMD, ENTRYPOINT: `json` form's words, or one text for the shell."""

    args: tuple[str, ...]
    json: bool


class Run(Command):
    mounts: tuple[str, ...] = ()
    network: str = ""
    security: str = ""
    devices: tuple[str, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()


class Cmd(Command):
    pass


class Entrypoint(Command):
    pass


class Copy(Instruction):
    """COPY and ADD. `sources` are paths, URLs and, for those in `heredocs`, their names."""

    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...] = ()
    from_: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()


class Add(Copy):
    """`unpack` None: local archives only."""

    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


class Shell(Instruction):
    args: tuple[str, ...]


class Workdir(Instruction):
    path: str


class User(Instruction):
    user: str


class StopSignal(Instruction):
    signal: str


class Volume(Instruction):
    paths: tuple[str, ...]


class Expose(Instruction):
    ports: tuple[str, ...]


class Maintainer(Instruction):
    text: str


class Onbuild(Instruction):
    trigger: str


class Healthcheck(Instruction):
    """`kind` NONE, CMD or CMD-SHELL. Times in nanoseconds, 0 where none is given."""

    kind: str
    args: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


def typed(node: Node) -> Instruction:
    """Raises ValueError with BuildKit's words."""
    name = node.name.lower()
    make = _MAKERS.get(name)
    if make is None:
        raise ValueError(f"unknown instruction: {node.name}{flags.suggestion(name.upper(), [i.upper() for i in INSTRUCTIONS])}")
    try:
        return make(node, flags.parse(name, node.flags))
    except InvalidArgument as error:
        raise ValueError(error.message) from None


def _at_least_one(node: Node) -> None:
    if not node.args:
        raise ValueError(f"{node.name.upper()} requires at least one argument")


def _one(node: Node) -> str:
    if len(node.args) != 1:
        raise ValueError(f"{node.name.upper()} requires exactly one argument")
    return node.args[0]


def _from(node: Node, given: dict[str, Any]) -> Instruction:
    name = ""
    if len(node.args) == 3 and node.args[1].lower() == "as":
        name = node.args[2].lower()
        if not _STAGE_NAME.match(name):
            raise ValueError(f'invalid name for build stage: "{node.args[2]}", name can\'t start with a number or contain symbols')
    elif len(node.args) != 1:
        raise ValueError("FROM requires either one or three arguments")
    return From(node, node.args[0], name, given.get("platform", ""))


def _arg(node: Node, _given: dict[str, Any]) -> Instruction:
    _at_least_one(node)
    pairs: list[tuple[str, str | None]] = []
    for word in node.args:
        name, equals, value = word.partition("=")
        if not name:
            raise ValueError("ARG names can not be blank")
        pairs.append((name, value if equals else None))
    return Arg(node, tuple(pairs))


def _pairs(node: Node) -> tuple[tuple[tuple[str, str], ...], bool]:
    _at_least_one(node)
    pairs = tuple(zip(node.args[0::3], node.args[1::3]))
    if any(not name for name, _value in pairs):
        raise ValueError(f"{node.name.upper()} names can not be blank")
    return pairs, node.args[2] == ""


def _env(node: Node, _given: dict[str, Any]) -> Instruction:
    return Env(node, *_pairs(node))


def _label(node: Node, _given: dict[str, Any]) -> Instruction:
    return Label(node, *_pairs(node))


def _run(node: Node, given: dict[str, Any]) -> Instruction:
    for text in given.get("mount", ()):
        if "$" not in text:
            mounts.parse(text, str)
    network = given.get("network", "")
    if network and network not in ("default", "none", "host"):
        raise ValueError(f'invalid network mode: "{network}"')
    security = given.get("security", "")
    if security and security not in ("sandbox", "insecure"):
        raise ValueError(f'security "{security}" is not supported')
    return Run(node, node.args, node.json, tuple(given.get("mount", ())), network, security, tuple(given.get("device", ())), node.heredocs)


def _cmd(node: Node, _given: dict[str, Any]) -> Instruction:
    return Cmd(node, node.args, node.json)


def _entrypoint(node: Node, _given: dict[str, Any]) -> Instruction:
    return Entrypoint(node, node.args, node.json)


def _copied(node: Node, given: dict[str, Any]) -> dict[str, Any]:
    if not node.args:
        raise ValueError(f"{node.name.upper()} requires at least two arguments, but none were provided. Source could not be determined")
    if len(node.args) < 2:
        raise ValueError(
            f"{node.name.upper()} requires at least two arguments, but only one was provided. Destination could not be determined"
        )
    bodies = {h.name: h for h in node.heredocs}
    sources = []
    heredocs = []
    for word in node.args[:-1]:
        heredoc = None if node.json else lex.heredoc_of(word)
        if heredoc is not None and heredoc.name in bodies:
            heredocs.append(bodies[heredoc.name])
        else:
            sources.append(word)
    if lex.heredoc_of(node.args[-1]) is not None and node.heredocs:
        raise ValueError(f"{node.name.upper()} cannot accept a heredoc as a destination")
    return {
        "node": node,
        "sources": tuple(sources),
        "destination": node.args[-1],
        "heredocs": tuple(heredocs),
        "chown": given.get("chown", ""),
        "chmod": given.get("chmod", ""),
        "link": given.get("link", False),
        "exclude": tuple(given.get("exclude", ())),
    }


def _copy(node: Node, given: dict[str, Any]) -> Instruction:
    return Copy(**_copied(node, given), from_=given.get("from", ""), parents=given.get("parents", False))


def _add(node: Node, given: dict[str, Any]) -> Instruction:
    return Add(
        **_copied(node, given),
        checksum=given.get("checksum", ""),
        keep_git_dir=given.get("keep-git-dir"),
        unpack=given.get("unpack"),
    )


def _shell(node: Node, _given: dict[str, Any]) -> Instruction:
    if not node.args:
        raise ValueError("SHELL requires at least one argument")
    if not node.json:
        raise ValueError("SHELL requires the arguments to be in JSON form")
    return Shell(node, node.args)


def _workdir(node: Node, _given: dict[str, Any]) -> Instruction:
    return Workdir(node, _one(node))


def _user(node: Node, _given: dict[str, Any]) -> Instruction:
    return User(node, _one(node))


def _stop_signal(node: Node, _given: dict[str, Any]) -> Instruction:
    return StopSignal(node, _one(node))


def _volume(node: Node, _given: dict[str, Any]) -> Instruction:
    _at_least_one(node)
    paths = tuple(path.strip() for path in node.args)
    if not all(paths):
        raise ValueError("VOLUME specified can not be an empty string")
    return Volume(node, paths)


def _expose(node: Node, _given: dict[str, Any]) -> Instruction:
    _at_least_one(node)
    return Expose(node, tuple(sorted(node.args)))


def _maintainer(node: Node, _given: dict[str, Any]) -> Instruction:
    return Maintainer(node, _one(node))


def _onbuild(node: Node, _given: dict[str, Any]) -> Instruction:
    child = node.child
    if child is None:
        raise ValueError("ONBUILD requires at least one argument")
    word = child.name.upper()
    if word == "ONBUILD":
        raise ValueError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if word in ("FROM", "MAINTAINER"):
        raise ValueError(f"{word} isn't allowed as an ONBUILD trigger")
    typed(child.replace(heredocs=node.heredocs))
    trigger = re.sub(r"^\s*ONBUILD\s*", "", node.text, count=1, flags=re.IGNORECASE)
    for heredoc in node.heredocs:
        # A trigger with a body is kept with it, so that it can be carried out from the image's config alone.
        trigger += f"\n{heredoc.content}{heredoc.name}"
    return Onbuild(node, trigger)


def _healthcheck(node: Node, given: dict[str, Any]) -> Instruction:
    _at_least_one(node)
    kind, *args = node.args
    kind = kind.upper()
    if kind == "NONE":
        if args:
            raise ValueError("HEALTHCHECK NONE takes no arguments")
        return Healthcheck(node, "NONE")
    if kind != "CMD":
        raise ValueError(f'Unknown type "{kind}" in HEALTHCHECK (try CMD)')
    if not args:
        raise ValueError("Missing command after HEALTHCHECK CMD")
    return Healthcheck(
        node,
        "CMD" if node.json else "CMD-SHELL",
        tuple(args),
        _time(given, "interval"),
        _time(given, "timeout"),
        _time(given, "start-period"),
        _time(given, "start-interval"),
        _retries(given.get("retries", "")),
    )


def _time(given: dict[str, Any], name: str) -> int:
    text = given.get(name, "")
    if not text:
        return 0
    value = duration.parse(text)
    if value == 0:
        return 0
    if value < 1_000_000:
        raise ValueError(f'Interval "{name}" cannot be less than 1ms')
    return value


def _retries(text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if int(text) < 0:
        raise ValueError(f"--retries cannot be negative ({text})")
    return int(text)


_MAKERS: dict[str, Callable[[Node, dict[str, Any]], Instruction]] = {
    "add": _add,
    "arg": _arg,
    "cmd": _cmd,
    "copy": _copy,
    "entrypoint": _entrypoint,
    "env": _env,
    "expose": _expose,
    "from": _from,
    "healthcheck": _healthcheck,
    "label": _label,
    "maintainer": _maintainer,
    "onbuild": _onbuild,
    "run": _run,
    "shell": _shell,
    "stopsignal": _stop_signal,
    "user": _user,
    "volume": _volume,
    "workdir": _workdir,
}

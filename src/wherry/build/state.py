"""What a stage's instructions make of it: the image's config, the variables, and the steps that touch the disk.

Nothing runs here and nothing is read but the instructions and the base's config: the result is a list of steps. Metadata
instructions change the config and leave no step.
"""

from __future__ import annotations

import posixpath

from wherry.build import instructions as kinds
from wherry.build import mounts, ports, words
from wherry.build.graph import PLATFORM_ARGS
from wherry.build.instructions import Instruction
from wherry.build.source import LineError
from wherry.errors import InvalidArgument
from wherry.model import jsontext, signals
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from wherry.build.lex import Heredoc
    from wherry.build.mounts import Mount

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ("/bin/sh", "-c")
# Given with --build-arg they reach every RUN, without being declared; neither history nor cache key knows them.
PROXIES = tuple(n for name in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY") for n in (name, name.lower()))


class Step(Record):
    """Something that makes a layer. `label` is what progress shows behind the number."""

    instruction: Instruction
    label: str


class RunStep(Step):
    """`script`: a file (name, content) that is put at /dev/pipes for the step. `env` is complete but for proxies."""

    argv: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: str
    mounts: tuple[Mount, ...] = ()
    network: str = ""
    security: str = ""
    script: tuple[str, str] = ("", "")
    proxies: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()


class CopyStep(Step):
    """COPY or ADD. `files`: (name, content) of its heredocs. `destination` is absolute; it ends in / when it must be a folder."""

    sources: tuple[str, ...]
    destination: str
    files: tuple[tuple[str, str], ...] = ()
    from_: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()
    add: bool = False
    checksum: str = ""
    keep_git_dir: bool = False
    unpack: bool | None = None
    user: str = ""


class WorkdirStep(Step):
    path: str
    user: str


class History(Record):
    """`step`: the entry has a layer, made by the next step of the stage."""

    created_by: str
    step: bool
    comment: str = "buildkit.dockerfile.v0"
    author: str = ""


class State:
    """A stage while its instructions are carried out."""

    def __init__(self, config: dict[str, Any], escape: str, build_args: Mapping[str, str], global_args: Mapping[str, str | None]) -> None:
        self.config = config
        self.escape = escape
        self.build_args = build_args
        self.global_args = global_args
        # ARGs that are declared, name → value, in the order of their first declaration
        self.arguments: dict[str, str | None] = {}
        # Those of this stage, which its RUN steps' history names.
        self.declared: dict[str, None] = {}
        self.used_args: set[str] = set()
        self.steps: list[Step] = []
        self.history: list[History] = []
        self.author = ""
        self.command_is_set = False
        self.undefined: list[tuple[Instruction, str]] = []

    def child(self) -> State:
        """The state of a stage that is built FROM this one."""
        other = State(copied(self.config), self.escape, self.build_args, self.global_args)
        other.arguments = dict(self.arguments)
        other.author = self.author
        return other

    # -- variables -------------------------------------------------------------------------------------------------------

    def variables(self) -> dict[str, str]:
        """What an instruction sees: ARGs, and over them the ENV."""
        found = {name: value for name, value in self.arguments.items() if value is not None}
        found.update(environment(self.config))
        return found

    def expanded(self, text: str, instruction: Instruction, env: Mapping[str, str] | None = None) -> str:
        found = words.expand(text, self.variables() if env is None else env, escape=self.escape)
        self._note(instruction, found.unset)
        return found.text

    def expanded_words(self, text: str, instruction: Instruction) -> list[str]:
        found = words.expand(text, self.variables(), escape=self.escape)
        self._note(instruction, found.unset)
        return found.words

    def _note(self, instruction: Instruction, unset: set[str]) -> None:
        self.undefined += [(instruction, name) for name in sorted(unset)]

    # -- instructions ----------------------------------------------------------------------------------------------------

    def apply(self, instruction: Instruction) -> None:
        """Carry one instruction out. Raises LineError."""
        try:
            _APPLY[type(instruction)](self, instruction)
        except InvalidArgument as error:
            raise LineError(error.message, instruction.node.span, parsing=False) from None

    def note(self, text: str, *, step: bool = False) -> None:
        self.history.append(History(text, step, author=self.author))

    def workdir(self) -> str:
        return self.config.get("WorkingDir") or "/"

    def shell(self) -> tuple[str, ...]:
        return tuple(self.config.get("Shell") or DEFAULT_SHELL)

    def run_env(self) -> tuple[str, ...]:
        """ENV and, behind it, the ARGs that no ENV hides."""
        env = list(self.config.get("Env") or ())
        names = {entry.partition("=")[0] for entry in env}
        return (*env, *(f"{n}={v}" for n, v in self.arguments.items() if v is not None and n not in names))


def environment(config: dict[str, Any]) -> dict[str, str]:
    found = {}
    for entry in config.get("Env") or ():
        name, _, value = entry.partition("=")
        found[name] = value
    return found


def copied(config: dict[str, Any]) -> dict[str, Any]:
    """A deep copy: a config is JSON."""
    return jsontext.loads(jsontext.dumps(config))  # type: ignore[no-any-return]


def empty_config() -> dict[str, Any]:
    """What FROM scratch begins with."""
    return {"Env": [DEFAULT_PATH], "WorkingDir": "/"}


def _arg(state: State, it: kinds.Arg) -> None:
    shown = []
    for name, default in it.pairs:
        value = default
        if name in state.build_args:
            value = state.build_args[name]
            state.used_args.add(name)
        elif default is not None:
            value = state.expanded(default, it)
        elif name in state.global_args:
            value = state.global_args[name]
        state.arguments[name] = value
        state.declared[name] = None
        shown.append(name if value is None else f"{name}={value}")
    state.note("ARG " + " ".join(shown))


def _env(state: State, it: kinds.Env) -> None:
    # All values see the variables as they were before the instruction.
    before = state.variables()
    shown = []
    env = list(state.config.get("Env") or ())
    for raw_name, raw_value in it.pairs:
        name, value = state.expanded(raw_name, it, before), state.expanded(raw_value, it, before)
        shown.append(f"{name}={value}")
        at = next((i for i, entry in enumerate(env) if entry.partition("=")[0] == name), -1)
        if at < 0:
            env.append(f"{name}={value}")
        else:
            env[at] = f"{name}={value}"
    state.config["Env"] = env
    state.note("ENV " + " ".join(shown))


def _label(state: State, it: kinds.Label) -> None:
    labels = dict(state.config.get("Labels") or {})
    shown = []
    for raw_name, raw_value in it.pairs:
        name, value = state.expanded(raw_name, it), state.expanded(raw_value, it)
        labels[name] = value
        shown.append(f"{name}={value}")
    state.config["Labels"] = labels
    state.note("LABEL " + " ".join(shown))


def _run(state: State, it: kinds.Run) -> None:
    args = it.args
    script = ("", "")
    label = "RUN " + it.node.text.strip()[3:].strip()
    if it.heredocs:
        args, script = _heredoc_command(state, it)
    if not it.json:
        args = (*state.shell(), *args)
    if not args:
        raise InvalidArgument("RUN requires at least one argument")
    if it.heredocs:
        label = f"RUN {it.args[0]} ({' '.join(it.heredocs[0].content.split())[:60]})"
    shown_args = [f"{n}={state.variables().get(n, '')}" for n in state.declared]
    by = " ".join([*([f"|{len(shown_args)}"] if shown_args else []), *shown_args, *args])
    state.note(f"RUN {by} # buildkit", step=True)
    state.steps.append(
        RunStep(
            it,
            label,
            tuple(args),
            state.run_env(),
            state.workdir(),
            state.config.get("User") or "",
            tuple(_mount(state, it, text) for text in it.mounts),
            it.network,
            it.security,
            script,
            tuple(f"{n}={state.build_args[n]}" for n in PROXIES if n in state.build_args and n not in state.arguments),
            tuple(state.expanded(text, it) for text in it.devices),
        )
    )


def _mount(state: State, it: kinds.Run, text: str) -> Mount:
    found = mounts.parse(text, lambda value: state.expanded(value, it))
    target = found.target
    if target and not target.startswith("/"):
        target = posixpath.join(state.workdir(), target)
    if target:
        target = posixpath.normpath(target)
        if target == "/":
            raise InvalidArgument(f'invalid mount target "{found.target}"')
    return found.replace(target=target)


def _heredoc_command(state: State, it: kinds.Run) -> tuple[tuple[str, ...], tuple[str, str]]:
    """A body for the default shell, a script with a first line of its own, or a command line that reads bodies."""
    from wherry.build.lex import heredoc_of

    if it.json or len(it.args) != 1:
        raise InvalidArgument(f"parsing produced an invalid run command: {list(it.args)}")
    first = it.heredocs[0]
    if heredoc_of(it.args[0]) is not None:
        if first.text().startswith("#!"):
            return (f"/dev/pipes/{first.name}",), (first.name, first.text())
        return (first.text(),), ("", "")
    return ("\n".join([it.args[0], *(h.content + h.name for h in it.heredocs)]),), ("", "")


def _copy(state: State, it: kinds.Copy) -> None:
    sources = [state.expanded(text, it) for text in it.sources]
    destination = _absolute(state, state.expanded(it.destination, it))
    files = tuple((h.name, _body(state, it, h)) for h in it.heredocs)
    if len(sources) + len(files) > 1 and not destination.endswith("/"):
        raise InvalidArgument(f"When using {it.word} with more than one source file, the destination must be a directory and end with a /")
    chown, chmod = state.expanded(it.chown, it), state.expanded(it.chmod, it)
    extra: dict[str, Any] = {}
    if isinstance(it, kinds.Add):
        extra = {"add": True, "checksum": state.expanded(it.checksum, it), "keep_git_dir": bool(it.keep_git_dir), "unpack": it.unpack}
    shown = [it.word]
    if chown:
        shown.append(f"--chown={chown}")
    if chmod:
        shown.append(f"--chmod={chmod}")
    if it.link:
        shown.append("--link")
    shown += [*sources, *(f"<<{h.name}" for h in it.heredocs), state.expanded(it.destination, it)]
    state.note(" ".join(shown) + " # buildkit", step=True)
    state.steps.append(
        CopyStep(
            it,
            it.node.text.strip(),
            tuple(sources),
            destination,
            files,
            it.from_,
            chown,
            chmod,
            it.link,
            it.parents,
            tuple(state.expanded(e, it) for e in it.exclude),
            user=state.config.get("User") or "",
            **extra,
        )
    )


def _body(state: State, it: Instruction, heredoc: Heredoc) -> str:
    text = heredoc.text()
    if not heredoc.expands:
        return text
    found = words.expand_keeping_quotes(text, state.variables(), escape=state.escape)
    return found.text


def _absolute(state: State, path: str) -> str:
    """A destination, from the working folder where it is relative; a slash (or a dot) at its end is kept as a slash."""
    folder = path.endswith(("/", "/.")) or path in ("", ".")
    found = posixpath.normpath(posixpath.join("/", state.workdir(), path))
    found = "/" + found.lstrip("/")
    return found + "/" if folder and not found.endswith("/") else found


def _workdir(state: State, it: kinds.Workdir) -> None:
    path = state.expanded(it.path, it)
    if not path:
        raise InvalidArgument("cannot normalize nothing")
    found = "/" + posixpath.normpath(posixpath.join("/", state.workdir(), path)).lstrip("/")
    state.config["WorkingDir"] = found
    state.note("WORKDIR " + found, step=True)
    state.steps.append(WorkdirStep(it, f"WORKDIR {path}", found, state.config.get("User") or ""))


def _user(state: State, it: kinds.User) -> None:
    state.config["User"] = state.expanded(it.user, it)
    state.note("USER " + state.config["User"])


def _stop_signal(state: State, it: kinds.StopSignal) -> None:
    text = state.expanded(it.signal, it)
    if signals.number(text) is None:
        raise InvalidArgument(f"Invalid signal: {text}")
    state.config["StopSignal"] = text
    state.note("STOPSIGNAL " + text)


def _volume(state: State, it: kinds.Volume) -> None:
    volumes = dict(state.config.get("Volumes") or {})
    paths = [state.expanded(raw, it) for raw in it.paths]
    for path in paths:
        if not path:
            raise InvalidArgument("VOLUME specified can not be an empty string")
        volumes[path] = {}
    state.config["Volumes"] = volumes
    state.note(f"VOLUME [{' '.join(paths)}]")


def _expose(state: State, it: kinds.Expose) -> None:
    exposed = dict(state.config.get("ExposedPorts") or {})
    added = []
    for raw in it.ports:
        for text in state.expanded_words(raw, it):
            for port in ports.parse(text):
                exposed[port] = {}
                added.append(port)
    state.config["ExposedPorts"] = exposed
    state.note(f"EXPOSE map[{' '.join(f'{p}:{{}}' for p in sorted(set(added)))}]")


def _maintainer(state: State, it: kinds.Maintainer) -> None:
    state.author = it.text
    state.note("MAINTAINER " + it.text)


def _onbuild(state: State, it: kinds.Onbuild) -> None:
    state.config["OnBuild"] = [*(state.config.get("OnBuild") or ()), it.trigger]
    state.note("ONBUILD " + it.trigger)


def _shell(state: State, it: kinds.Shell) -> None:
    state.config["Shell"] = list(it.args)
    state.note(f"SHELL [{' '.join(it.args)}]")


def _go_list(args: tuple[str, ...]) -> str:
    return "[" + " ".join(_go_quoted(a) for a in args) + "]"


def _go_quoted(text: str) -> str:
    return jsontext.dumps(text)


def _cmd(state: State, it: kinds.Cmd) -> None:
    args = it.args if it.json else (*state.shell(), *it.args)
    state.config["Cmd"] = list(args)
    state.config["ArgsEscaped"] = True
    state.command_is_set = True
    state.note("CMD " + _go_list(args))


def _entrypoint(state: State, it: kinds.Entrypoint) -> None:
    args = it.args if it.json else (*state.shell(), *it.args)
    state.config["Entrypoint"] = list(args)
    if not state.command_is_set:
        # A CMD that was inherited belongs to another program.
        state.config.pop("Cmd", None)
    state.note("ENTRYPOINT " + _go_list(args))


def _healthcheck(state: State, it: kinds.Healthcheck) -> None:
    if it.kind == "NONE":
        state.config["Healthcheck"] = {"Test": ["NONE"]}
    else:
        check: dict[str, Any] = {"Test": [it.kind, *it.args]}
        for key, value in (
            ("Interval", it.interval),
            ("Timeout", it.timeout),
            ("StartPeriod", it.start_period),
            ("StartInterval", it.start_interval),
            ("Retries", it.retries),
        ):
            if value:
                check[key] = value
        state.config["Healthcheck"] = check
    state.note("HEALTHCHECK " + it.node.text.strip()[len("HEALTHCHECK") :].strip())


_APPLY: dict[type[Instruction], Callable[[State, Any], None]] = {
    kinds.Add: _copy,
    kinds.Arg: _arg,
    kinds.Cmd: _cmd,
    kinds.Copy: _copy,
    kinds.Entrypoint: _entrypoint,
    kinds.Env: _env,
    kinds.Expose: _expose,
    kinds.Healthcheck: _healthcheck,
    kinds.Label: _label,
    kinds.Maintainer: _maintainer,
    kinds.Onbuild: _onbuild,
    kinds.Run: _run,
    kinds.Shell: _shell,
    kinds.StopSignal: _stop_signal,
    kinds.User: _user,
    kinds.Volume: _volume,
    kinds.Workdir: _workdir,
}

# Values that a declared ARG has without anybody giving one.
BUILT_IN = frozenset((*PROXIES, *PLATFORM_ARGS, "SOURCE_DATE_EPOCH"))

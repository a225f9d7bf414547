"""Build checks: what docker's linter says of a Dockerfile. Nothing here stops a build but `# check=error=true`."""

from __future__ import annotations

import re

from wherry.build import flags, words
from wherry.build.instructions import Add, Arg, Cmd, Command, Copy, Entrypoint, Env, Expose, Healthcheck, Label, Maintainer, Workdir
from wherry.build.rules import RULES, Rule
from wherry.build.source import Span
from wherry.errors import BuildError, InvalidArgument
from wherry.model import platform as platforms
from wherry.model import reference
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wherry.build.graph import Stage, Stages
    from wherry.build.ignore import Ignore
    from wherry.build.instructions import Instruction
    from wherry.build.jobs import StageJob
    from wherry.build.parse import File, Node

_SECRETS = re.compile(r"(?i)(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token|psw)(?:_|$)")
_NO_SECRETS = re.compile(r"(?i)(?:_|^)(?:public|file|version)(?:_|$)")
_CONSTANT = re.compile(r"[^$]+\Z")
_PLATFORM_VARIABLE = re.compile(r"\$(?:TARGETPLATFORM|\{TARGETPLATFORM\})\Z")
_PORTS = re.compile(r"[0-9]+(?:-[0-9]+)?(?:/[A-Za-z]+)?\Z")
_SKIP_COMMENT = re.compile(r"check\s*=\s*skip\s*=\s*(.+)\Z", re.IGNORECASE)
_RESERVED = ("context", "scratch")


class Finding(Record):
    rule: Rule
    detail: str
    span: Span


class Wishes(Record):
    """`# check=skip=A,B;error=true;experimental=C`; "all" for every rule."""

    skip: tuple[str, ...] = ()
    error: bool = False
    experimental: tuple[str, ...] = ()

    def wants(self, rule: Rule) -> bool:
        if rule.experimental and not _named(rule, self.experimental):
            return False
        return not _named(rule, self.skip)


def _named(rule: Rule, names: Iterable[str]) -> bool:
    return any(name.lower() in ("all", rule.name.lower()) for name in names)


def wishes(text: str) -> Wishes:
    """The value of a check directive. Raises BuildError."""
    found = Wishes()
    for part in text.split(";"):
        if not part.strip():
            continue
        key, equals, value = part.strip().partition("=")
        names = tuple(name.strip() for name in value.split(",") if name.strip())
        if key == "skip" and equals:
            found = found.replace(skip=names)
        elif key == "experimental" and equals:
            found = found.replace(experimental=names)
        elif key == "error" and value.lower() in ("true", "false", "1", "0"):
            found = found.replace(error=value.lower() in ("true", "1"))
        else:
            raise BuildError(f"invalid check option {part.strip()!r}", hint="it is skip=RULE,…, error=true or experimental=RULE,…")
    return found


class Checker:
    """Collects findings. `stages` has all stages; `jobs` those that the target needs, with their states."""

    def __init__(self, stages: Stages, wanted: Wishes) -> None:
        self._stages = stages
        self._wanted = wanted
        self._found: list[Finding] = []
        self._absolute = False
        # Stages (by number) that have an absolute folder to work in.
        self._absolute_in: dict[int, bool] = {}

    def found(self) -> list[Finding]:
        """In the order of their lines, each once."""
        once = dict.fromkeys(self._found)
        return sorted(once, key=lambda f: f.span.first)

    def _say(self, name: str, node: Node, *values: str) -> None:
        rule = RULES[name]
        if not self._wanted.wants(rule):
            return
        for comment in node.comments:
            skipped = _SKIP_COMMENT.match(comment)
            if skipped and _named(rule, [n.strip() for n in skipped.group(1).split(",")]):
                return
        self._found.append(Finding(rule, rule.text % values, node.span))

    # -- what the text alone shows, in all stages --------------------------------------------------------------------------

    def text(self) -> None:
        file = self._stages.file
        self._casing(file)
        for node in file.nodes:
            if node.blank:
                self._say("NoEmptyContinuation", node)
        seen: set[str] = set()
        for stage in self._stages.stages:
            self._stage_name(stage, seen)
            for instruction in stage.instructions:
                self._plain(instruction)
        for arg in self._stages.global_args:
            self._secrets(arg, "ARG", [name for name, _value in arg.pairs])
            self._described(arg.node, "ARG", [name for name, _value in arg.pairs])

    def _casing(self, file: File) -> None:
        names = [node.name for node in file.nodes]
        lower = sum(name == name.lower() for name in names)
        upper = sum(name == name.upper() for name in names)
        right: Callable[[str], str] = str.lower if lower > upper else str.upper
        for node in file.nodes:
            if node.name != right(node.name):
                self._say("ConsistentInstructionCasing", node, node.name, "lowercase" if lower > upper else "uppercase")

    def _stage_name(self, stage: Stage, seen: set[str]) -> None:
        node = stage.from_.node
        if len(node.args) == 3:
            word, name = node.args[1], node.args[2]
            if word.isupper() != node.name.isupper() and (word.isupper() or word.islower()):
                self._say("FromAsCasing", node, word, node.name)
            if name != name.lower():
                self._say("StageNameCasing", node, name)
            if name.lower() in _RESERVED:
                self._say("ReservedStageName", node, name.lower())
            if name.lower() in seen:
                self._say("DuplicateStageName", node, name.lower())
            seen.add(name.lower())
            self._described(node, "FROM", [name])
        self._platform_flag(stage)

    def _platform_flag(self, stage: Stage) -> None:
        text = stage.from_.platform
        if not text:
            return
        if _PLATFORM_VARIABLE.match(text):
            self._say("RedundantTargetPlatform", stage.from_.node, text)
        elif _CONSTANT.match(text):
            try:
                parsed = platforms.parse(text)
            except InvalidArgument:
                return
            # A stage that says in its name what it is for means it.
            if not any(part and part in stage.name for part in (parsed.os, parsed.architecture)):
                self._say("FromPlatformFlagConstDisallowed", stage.from_.node, text)

    def _described(self, node: Node, word: str, names: list[str]) -> None:
        """The comment right above an ARG or FROM begins with the name that it describes."""
        if not node.comments or len(names) != 1:
            return
        first = node.comments[-1].split(" ", 1)[0]
        if first != names[0] and not node.comments[-1].startswith("check="):
            self._say("InvalidDefinitionDescription", node, word, names[0])

    def _plain(self, it: Instruction) -> None:
        if isinstance(it, Maintainer):
            self._say("MaintainerDeprecated", it.node)
        elif isinstance(it, (Env, Label)):
            if it.old_form:
                self._say("LegacyKeyValueFormat", it.node, it.word, it.word)
            if isinstance(it, Env):
                self._secrets(it, "ENV", [name for name, _value in it.pairs])
        elif isinstance(it, Arg):
            self._secrets(it, "ARG", [name for name, _value in it.pairs])
            self._described(it.node, "ARG", [name for name, _value in it.pairs])
        elif isinstance(it, Expose):
            for port in it.ports:
                self._port(it, port)

    def _secrets(self, it: Instruction, word: str, names: list[str]) -> None:
        for name in names:
            if _SECRETS.search(name) and not _NO_SECRETS.search(name):
                self._say("SecretsUsedInArgOrEnv", it.node, word, name)

    def _port(self, it: Instruction, port: str) -> None:
        if "$" in port:
            return
        proto = port.partition("/")[2]
        if proto != proto.lower():
            self._say("ExposeProtoCasing", it.node, port)
        if ":" in port.partition("/")[0]:
            self._say("ExposeInvalidFormat", it.node, port)

    # -- what FROM lines come to -------------------------------------------------------------------------------------------

    def bases(self) -> None:
        escape = self._stages.file.directives.escape
        known = [name for arg in self._stages.global_args for name, _value in arg.pairs]
        for stage, name in self._stages.unset_in_from:
            self._say("UndefinedArgInFrom", stage.from_.node, name, flags.suggestion(name, known))
        for stage in self._stages.stages:
            try:
                text = words.expand(stage.from_.image, self._stages.defaults, escape=escape).text
                if text.lower() not in [s.name for s in self._stages.stages if s.name]:
                    reference.parse(text)
            except InvalidArgument:
                self._say("InvalidDefaultArgInFrom", stage.from_.node, stage.from_.image)

    # -- what stages come to -----------------------------------------------------------------------------------------------

    def job(self, job: StageJob, ignore: Ignore | None) -> None:
        """A stage that the target needs. `ignore` None: nobody needs the context."""
        self._absolute = self._absolute_before(job)
        once: dict[str, Instruction] = {}
        shell_set = job.shell_before
        for it in job.stage.instructions:
            if isinstance(it, (Cmd, Entrypoint, Healthcheck)):
                if it.word in once:
                    self._say("MultipleInstructionsDisallowed", once[it.word].node, it.word)
                once[it.word] = it
            if isinstance(it, (Cmd, Entrypoint)) and not it.json and not shell_set:
                self._say("JSONArgsRecommended", it.node, it.word)
            elif it.word == "SHELL":
                shell_set = True
            elif isinstance(it, Workdir):
                self._workdir(it)
            elif isinstance(it, Copy) and not it.from_ and ignore is not None:
                self._ignored(it, ignore)
        known = sorted({*job.state.variables(), *job.state.arguments})
        for it, name in job.state.undefined:
            if not isinstance(it, Command) and name not in job.state.arguments:
                self._say("UndefinedVar", it.node, name, _near(name, known))
        self._absolute_in[job.stage.index] = self._absolute
        base = job.base
        if base is not None and base.wanted_platform and base.platform.split("/")[:2] != base.wanted_platform.split("/")[:2]:
            self._say("InvalidBaseImagePlatform", job.stage.from_.node, job.stage.base, base.platform, base.wanted_platform)

    def _absolute_before(self, job: StageJob) -> bool:
        parent = job.parent
        return parent is not None and self._absolute_in.get(parent.stage.index, False)

    def _workdir(self, it: Workdir) -> None:
        if _is_absolute(it):
            self._absolute = True
        elif not self._absolute and not it.path.startswith("$"):
            self._say("WorkdirRelativePath", it.node, it.path)

    def _ignored(self, it: Copy, ignore: Ignore) -> None:
        for source in it.sources:
            path = "/".join(p for p in source.split("/") if p not in ("", "."))
            if path and "://" not in source and "$" not in source and ignore.matches(path):
                self._say("CopyIgnoredFile", it.node, "Add" if isinstance(it, Add) else "Copy", source)


def _is_absolute(it: Workdir) -> bool:
    return it.path.startswith("/")


def _near(name: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, 1, 0.7)
    return f" (did you mean ${near[0]}?)" if near else ""

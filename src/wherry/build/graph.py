"""Stages of a Dockerfile and what they need of each other: parsed, pruned to a target, checked for circles."""

from __future__ import annotations

from wherry.build import flags, instructions, mounts, words
from wherry.build.instructions import Arg, Copy, From, Instruction, Run
from wherry.build.parse import File
from wherry.build.source import LineError
from wherry.errors import BuildError, InvalidArgument
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# More stages than any build has: a bound for what a hostile file costs.
MAX_STAGES = 10_000
PLATFORM_ARGS = (
    "TARGETPLATFORM", "TARGETOS", "TARGETARCH", "TARGETVARIANT", "TARGETSTAGE",
    "BUILDPLATFORM", "BUILDOS", "BUILDARCH", "BUILDVARIANT",
)  # fmt: skip


class Stage(Record):
    """`base` is FROM's image with its variables expanded, `platform` likewise."""

    index: int
    name: str
    base: str
    platform: str
    from_: From
    instructions: tuple[Instruction, ...]

    def label(self, several: bool) -> str:
        """What progress calls it."""
        return (self.name or f"stage-{self.index}") if several else ""


class Stages(Record):
    """All stages of a file. `arguments`: the global ARGs, name → value (None: no value), as FROM lines and stages see them."""

    file: File
    stages: tuple[Stage, ...]
    arguments: dict[str, str | None]
    unset_in_from: tuple[tuple[Stage, str], ...] = ()
    global_args: tuple[Arg, ...] = ()
    # The global ARGs as they are when nobody gives a value.
    defaults: dict[str, str] = {}
    by_name: dict[str, tuple[Stage, ...]] = {}

    def named(self, name: str, before: int | None = None) -> Stage | None:
        """The stage of that name; the last one of several."""
        found = None
        for stage in self.by_name.get(name.lower(), ()):
            if before is None or stage.index < before:
                found = stage
        return found

    def source(self, text: str) -> Stage | None:
        """The stage that COPY --from or a mount's from means: a name or a number; None for an image."""
        found = self.named(text)
        if found is None and text.isdigit() and int(text) < len(self.stages):
            return self.stages[int(text)]
        return found

    def base_of(self, stage: Stage) -> Stage | None:
        return self.named(stage.base, stage.index)

    def target(self, name: str) -> Stage:
        """The stage to build; the last one for "". Raises BuildError."""
        if not name:
            return self.stages[-1]
        found = self.source(name)
        if found is None:
            near = flags.suggestion(name.lower(), [s.name for s in self.stages if s.name])
            raise BuildError(f'target stage "{name}" could not be found{near}')
        return found

    def inputs(self, stage: Stage) -> list[Stage]:
        """The stages that a stage needs directly."""
        base = self.base_of(stage)
        found = [] if base is None else [base]
        for instruction in stage.instructions:
            for name in sources_of(instruction):
                other = self.source(name)
                if other is not None and other not in found:
                    found.append(other)
        return found

    def needed(self, target: Stage) -> list[Stage]:
        """The target and all that it needs, each after its inputs. Raises BuildError for a circle."""
        order: list[Stage] = []
        done: set[int] = set()
        under_way: set[int] = set()
        todo: list[tuple[Stage, bool]] = [(target, False)]
        while todo:
            stage, left = todo.pop()
            if left:
                under_way.discard(stage.index)
                done.add(stage.index)
                order.append(stage)
                continue
            if stage.index in done:
                continue
            if stage.index in under_way:
                continue
            under_way.add(stage.index)
            todo.append((stage, True))
            for other in self.inputs(stage):
                if other.index in under_way:
                    raise BuildError(
                        f"circular dependency detected on stage: {other.name or other.index}",
                        excerpt=self.file.source.excerpt(stage.from_.node.span),
                    )
                if other.index not in done:
                    todo.append((other, False))
        return order


def sources_of(instruction: Instruction) -> list[str]:
    """What an instruction takes from: stages or images, as they are written."""
    if isinstance(instruction, Copy) and instruction.from_:
        return [instruction.from_]
    if isinstance(instruction, Run):
        found = []
        for text in instruction.mounts:
            try:
                name = mounts.parse(text, lambda value: value).from_
            except InvalidArgument:
                # A variable in it decides; `from` itself can't have any, and the step reports what is wrong.
                name = next((f[5:] for f in text.split(",") if f.startswith("from=")), "")
            if name:
                found.append(name)
        return found
    return []


def stages(file: File, build_args: Mapping[str, str] | None = None, platform_args: Mapping[str, str] | None = None) -> Stages:
    """Group a file's instructions into stages and expand the FROM lines. Raises BuildError."""
    try:
        return _stages(file, build_args or {}, platform_args or {})
    except LineError as error:
        raise error.at(file.source) from None


def _stages(file: File, build_args: Mapping[str, str], platform_args: Mapping[str, str]) -> Stages:
    escape = file.directives.escape
    arguments: dict[str, str | None] = dict(platform_args)
    defaults: dict[str, str | None] = dict(platform_args)
    global_args: list[Arg] = []
    found: list[Stage] = []
    inner: list[Instruction] = []
    unset: list[tuple[int, str]] = []
    for node in file.nodes:
        try:
            instruction = instructions.typed(node)
        except ValueError as error:
            caret = node.name if str(error).startswith("unknown instruction") else ""
            raise LineError(str(error), node.span, caret) from None
        if isinstance(instruction, From):
            if len(found) >= MAX_STAGES:
                raise LineError(f"more than {MAX_STAGES} stages", node.span)
            if found:
                found[-1] = found[-1].replace(instructions=tuple(inner))
            inner = []
            stage, missing = _stage(instruction, len(found), _set(arguments), escape)
            unset += [(len(found), name) for name in missing]
            found.append(stage)
        elif found:
            _check(instruction)
            inner.append(instruction)
        elif isinstance(instruction, Arg):
            _global(instruction, arguments, build_args, escape)
            _global(instruction, defaults, {}, escape)
            global_args.append(instruction)
        else:
            raise LineError("no build stage in current context", node.span)
    if not found:
        raise LineError("dockerfile contains no stages to build", file.nodes[0].span, parsing=False)
    found[-1] = found[-1].replace(instructions=tuple(inner))
    unset_in_from = tuple((found[index], name) for index, name in unset)
    return indexed(Stages(file, tuple(found), arguments, unset_in_from, tuple(global_args), _set(defaults)))


def indexed(stages: Stages) -> Stages:
    """With what `named` looks into."""
    by_name: dict[str, tuple[Stage, ...]] = {}
    for stage in stages.stages:
        if stage.name:
            by_name[stage.name] = (*by_name.get(stage.name, ()), stage)
    return stages.replace(by_name=by_name)


def _set(arguments: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in arguments.items() if value is not None}


def _global(instruction: Arg, arguments: dict[str, str | None], build_args: Mapping[str, str], escape: str) -> None:
    for name, default in instruction.pairs:
        if name in build_args:
            arguments[name] = build_args[name]
        elif default is not None:
            try:
                arguments[name] = words.expand(default, _set(arguments), escape=escape).text
            except InvalidArgument as error:
                raise LineError(error.message, instruction.node.span, parsing=False) from None
        else:
            arguments.setdefault(name, None)


def _stage(instruction: From, index: int, arguments: dict[str, str], escape: str) -> tuple[Stage, Iterable[str]]:
    span = instruction.node.span
    try:
        image = words.expand(instruction.image, arguments, escape=escape)
        platform = words.expand(instruction.platform, arguments, escape=escape)
    except InvalidArgument as error:
        raise LineError(error.message, span, parsing=False) from None
    if not image.text:
        raise LineError(f"base name ({instruction.image}) should not be blank", span, parsing=False)
    stage = Stage(index, instruction.name, image.text, platform.text, instruction, ())
    return stage, sorted(image.unset | platform.unset)


def _check(instruction: Instruction) -> None:
    if isinstance(instruction, Copy) and "$" in instruction.from_:
        raise LineError(
            f"variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround: "
            f"{instruction.from_}",
            instruction.node.span,
            instruction.from_,
            parsing=False,
        )

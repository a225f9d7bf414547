"""The stages of one build, ready to be carried out: configs computed, steps listed, nothing done yet."""

from __future__ import annotations

from wherry.build import instructions, keys, parse, source
from wherry.build.graph import Stage, Stages, sources_of
from wherry.build.source import LineError
from wherry.build.state import DEFAULT_PATH, CopyStep, RunStep, State, Step, copied, empty_config
from wherry.errors import BuildError
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


class Base(Record):
    """An image that a stage begins with or copies from. `layers`: numbers, the lowest first. `config`: its "config" object."""

    name: str
    id: str
    layers: tuple[int, ...]
    diff_ids: tuple[str, ...]
    config: dict[str, Any]
    history: tuple[dict[str, Any], ...]
    platform: str
    document: dict[str, Any]
    # What the build asked for; the image may be of another one.
    wanted_platform: str = ""

    @property
    def key(self) -> str:
        return keys.base(self.diff_ids, self.platform)


class StageJob:
    """A stage with its state. `base` None: FROM scratch or FROM another stage (`parent`)."""

    def __init__(self, stage: Stage, label: str, state: State, base: Base | None, parent: StageJob | None) -> None:
        self.stage = stage
        self.label = label
        self.state = state
        self.base = base
        self.parent = parent
        # Stages that an ONBUILD trigger of the base brought in beside those of the graph.
        self.extra_inputs: list[int] = []
        self.shell_before = bool(state.config.get("Shell"))

    @property
    def steps(self) -> list[Step]:
        return self.state.steps

    def step_label(self, number: int, text: str) -> str:
        """ "[name 2/5] RUN …": number 1 is FROM."""
        total = str(len(self.steps) + 1)
        name = f"{self.label} " if self.label else ""
        return f"[{name}{number:>{len(total)}}/{total}] {text}"


def prepare(
    stages: Stages,
    target: Stage,
    build_args: Mapping[str, str],
    resolve: Callable[[str, str, Stage], Base],
    begin: Callable[[dict[str, Any]], None] = lambda config: None,
) -> tuple[dict[int, StageJob], list[StageJob]]:
    """Apply all instructions of the stages that the target needs. `resolve(name, platform, stage)` finds a base image, `begin` changes
    the config that a stage starts from.

    Returns the jobs by stage and in the order in which each comes after its inputs. Raises BuildError.
    """
    jobs: dict[int, StageJob] = {}
    order: list[StageJob] = []
    todo = stages.needed(target)
    several = len(stages.stages) > 1
    while todo:
        stage = todo.pop(0)
        if stage.index in jobs:
            continue
        job = _job(stages, stage, jobs, build_args, resolve, several, begin)
        missing = [s for s in job.extra_inputs if s not in jobs]
        jobs[stage.index] = job
        order.append(job)
        for index in missing:
            todo = stages.needed(stages.stages[index]) + todo
    return jobs, order


def _job(
    stages: Stages,
    stage: Stage,
    jobs: dict[int, StageJob],
    build_args: Mapping[str, str],
    resolve: Callable[[str, str, Stage], Base],
    several: bool,
    begin: Callable[[dict[str, Any]], None],
) -> StageJob:
    parent_stage = stages.base_of(stage)
    base: Base | None = None
    parent: StageJob | None = None
    escape = stages.file.directives.escape
    if parent_stage is not None:
        parent = jobs[parent_stage.index]
        state = parent.state.child()
    elif stage.base == "scratch":
        state = State(empty_config(), escape, build_args, stages.arguments)
    else:
        base = resolve(stage.base, stage.platform, stage)
        config = copied(base.config)
        if not any(entry.startswith("PATH=") for entry in config.get("Env") or ()):
            # BuildKit makes sure that there is one.
            config["Env"] = [*(config.get("Env") or ()), DEFAULT_PATH]
        state = State(config, escape, build_args, stages.arguments)
    if parent is None:
        begin(state.config)
    if stage.name or several:
        state.global_args = {**stages.arguments, "TARGETSTAGE": stage.name or str(stage.index)}
    job = StageJob(stage, stage.label(several), state, base, parent)
    triggers = list(state.config.pop("OnBuild", None) or ())
    try:
        for text in triggers:
            _trigger(stages, job, str(text))
        for instruction in stage.instructions:
            state.apply(instruction)
    except LineError as error:
        raise error.at(stages.file.source) from None
    return job


def _trigger(stages: Stages, job: StageJob, text: str) -> None:
    """An ONBUILD instruction of the base, carried out right behind FROM."""
    node = _parsed(text).replace(span=job.stage.from_.node.span)
    try:
        instruction = instructions.typed(node)
    except ValueError as error:
        raise LineError(f"the image {job.stage.base} has a trigger that is no instruction: {text}: {error}", node.span) from None
    for name in sources_of(instruction):
        other = stages.source(name)
        if other is not None:
            job.extra_inputs.append(other.index)
    job.state.apply(instruction)


def _parsed(text: str) -> parse.Node:
    """A trigger's text: one instruction, with the bodies of its heredocs behind it."""
    try:
        return parse.parse(source.read(text.encode("utf-8", "surrogateescape"), "ONBUILD")).nodes[0]
    except BuildError as error:
        raise BuildError(f"a trigger of the base image can't be read: {text}: {error.message}") from None


def needed_by(stages: Stages, job: StageJob) -> list[int]:
    """Stages whose results a job's steps take from, its base's excepted."""
    found: list[int] = []
    for step in job.steps:
        names: list[str] = []
        if isinstance(step, CopyStep) and step.from_:
            names = [step.from_]
        elif isinstance(step, RunStep):
            names = [m.from_ for m in step.mounts if m.from_]
        for name in names:
            other = stages.source(name)
            if other is not None and other.index not in found:
                found.append(other.index)
    return found

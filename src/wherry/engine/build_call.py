"""`--call`: what a Dockerfile says of itself, without building: its checks, its arguments and secrets, its targets."""

from __future__ import annotations

from wherry.build import graph, jobs, mounts, parse
from wherry.build.instructions import Arg, Run
from wherry.build.jobs import Base
from wherry.engine.build_context import Inputs
from wherry.engine.build_one import OneBuild
from wherry.errors import InvalidArgument, WherryError
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.build.checks import Finding as Finding
    from wherry.build.graph import Stage, Stages
    from wherry.build.jobs import StageJob
    from wherry.build.parse import Node
    from wherry.build.source import Source as Source
    from wherry.engine import Engine
    from wherry.engine.build_request import BuildRequest


class CheckReport(Record):
    findings: tuple[Finding, ...]
    source: Source


class Outline(Record):
    """`arguments`: (name, value, description); `secrets` and `ssh`: (id, required)."""

    name: str
    description: str
    arguments: tuple[tuple[str, str, str], ...]
    secrets: tuple[tuple[str, bool], ...]
    ssh: tuple[tuple[str, bool], ...]


class Target(Record):
    name: str
    description: str
    base: str
    platform: str
    default: bool


class Survey:
    """Reads a Dockerfile and its base images' configs, as far as they are here. Raises BuildError."""

    def __init__(self, engine: Engine, request: BuildRequest) -> None:
        self._one = OneBuild(engine, request.replace(pull="never"), None)
        self._request = request
        self._engine = engine

    def check(self) -> CheckReport:
        with self._inputs() as inputs:
            stages = self._stages(inputs)
            order = self._jobs(stages)
            return CheckReport(tuple(self._one.findings(inputs, stages, order)), stages.file.source)

    def outline(self) -> Outline:
        with self._inputs() as inputs:
            stages = self._stages(inputs)
            target = stages.target(self._request.target)
            order = self._jobs(stages)
        arguments: dict[str, tuple[str, str, str]] = {}
        for arg in stages.global_args:
            self._arguments(arg, stages.arguments, arguments)
        secrets: dict[str, bool] = {}
        ssh: dict[str, bool] = {}
        for job in order:
            for it in job.stage.instructions:
                if isinstance(it, Arg):
                    self._arguments(it, job.state.arguments, arguments)
                elif isinstance(it, Run):
                    _needs(it, job, secrets, ssh)
        return Outline(
            target.name,
            _description(target.from_.node, target.name),
            tuple(arguments.values()),
            tuple(sorted(secrets.items())),
            tuple(sorted(ssh.items())),
        )

    def targets(self) -> list[Target]:
        with self._inputs() as inputs:
            stages = self._stages(inputs)
        default = stages.target(self._request.target)
        return [
            Target(s.name, _description(s.from_.node, s.name), s.base, s.platform, s is default or s.index == default.index)
            for s in stages.stages
            if s.name or s.index == default.index
        ]

    def _inputs(self) -> Inputs:
        request = self._request
        return Inputs(self._engine.store, request.context, request.dockerfile, ignorefile=request.ignorefile)

    def _stages(self, inputs: Inputs) -> Stages:
        return graph.stages(parse.parse(inputs.source()), self._request.build_args, self._one.platform_args())

    def _jobs(self, stages: Stages) -> list[StageJob]:
        target = stages.target(self._request.target)
        return jobs.prepare(stages, target, self._request.build_args, self._base)[1]

    def _base(self, name: str, platform: str, stage: Stage) -> Base:
        """The image if it is here; nothing is fetched to look at a Dockerfile."""
        try:
            return self._one.resolve(name, platform, stage)
        except WherryError:
            return Base(name, "", (), (), {}, (), "", {})

    @staticmethod
    def _arguments(it: Arg, values: dict[str, str | None], found: dict[str, tuple[str, str, str]]) -> None:
        for name, _default in it.pairs:
            value = values.get(name) or ""
            described = _description(it.node, name) if len(it.pairs) == 1 else ""
            before = found.get(name, ("", "", ""))
            found[name] = (name, value or before[1], described or before[2])


def _needs(it: Run, job: StageJob, secrets: dict[str, bool], ssh: dict[str, bool]) -> None:
    for text in it.mounts:
        try:
            mount = mounts.parse(text, lambda value: job.state.expanded(value, it))
        except InvalidArgument:
            continue
        if mount.type == "secret":
            secrets[mount.id] = secrets.get(mount.id, False) or mount.required
        elif mount.type == "ssh":
            ssh[mount.id or "default"] = ssh.get(mount.id or "default", False) or mount.required


def _description(node: Node, name: str) -> str:
    """The comment right above that begins with the name."""
    if not node.comments or not name:
        return ""
    first, _, rest = node.comments[-1].partition(" ")
    return rest.strip() if first.lower() == name.lower() else ""

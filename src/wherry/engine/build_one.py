"""One build, from its request to its outputs."""

from __future__ import annotations

import os
import threading

from wherry.build import checks, graph, jobs, parse
from wherry.build.builder import Builder
from wherry.build.context import Context
from wherry.build.jobs import Base, StageJob
from wherry.build.progress import Reporter
from wherry.build.progress import Vertex as Vertex
from wherry.build.state import BUILT_IN, CopyStep, RunStep
from wherry.build.takes import Taken, Takes
from wherry.build.workers import Worker
from wherry.engine import build_image
from wherry.engine.build_context import Inputs
from wherry.engine.build_request import BuildRequest, BuildResult
from wherry.engine.build_wishes import network_mode
from wherry.errors import BuildError, InvalidArgument, WherryError
from wherry.model import platform, reference, times
from wherry.store import images, steps, treeop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any

    from wherry.build.checks import Finding
    from wherry.build.fetch import Fetcher
    from wherry.build.graph import Stage, Stages
    from wherry.build.progress import Display
    from wherry.build.source import Source
    from wherry.engine import Engine
    from wherry.engine.build_cache import Imported, Outgoing
    from wherry.engine.build_named import NamedContexts
    from wherry.engine.build_run import StepRunner
    from wherry.engine.build_wishes import CacheSpec
    from wherry.model.platform import Platform
    from wherry.model.reference import Reference

_PARALLEL = 16
_EPOCH = "SOURCE_DATE_EPOCH"


class OneBuild:
    """One build from its request to its outputs."""

    def __init__(
        self, engine: Engine, request: BuildRequest, display: Display | None, *, reporter: Reporter | None = None, prefix: str = ""
    ) -> None:
        self._prefix = prefix
        self._engine = engine
        self._store = engine.store
        self._request = request
        self._reporter = reporter or Reporter(display)
        self._platform: Platform = platform.parse(request.platform) if request.platform else platform.host()
        self._targets: list[Reference] = [tag_of(text) for text in request.tags]
        self._bases: dict[tuple[str, str], Base] = {}
        self._context: Context | None = None
        self._source: Source | None = None
        self._findings: list[Finding] = []
        self._contexts = self._named_contexts()
        self._squashed = ""
        self._failed_image = ""

    def run(self) -> BuildResult:
        request = self._request
        network = network_mode(request.run.network)
        with (
            Inputs(self._store, request.context, request.dockerfile, ignorefile=request.ignorefile) as inputs,
            self._contexts as contexts,
        ):
            contexts.open()
            stages = self._parsed(inputs)
            target = stages.target(request.target)
            request = self._request = self._timed(inputs, stages)
            all_jobs, order = jobs.prepare(stages, target, request.build_args, self.resolve, self._begin)
            for job in order if self._prefix else ():
                job.label = f"{self._prefix} {job.label}".rstrip()
            self._warn_of_unused(stages, order)
            self._check(inputs, stages, order)
            scratch = self._store.staging("fetched")
            try:
                return self._carried_out(inputs, stages, all_jobs, target, network, scratch)
            finally:
                if os.path.lexists(scratch):
                    treeop.remove_trees([scratch])

    def _parsed(self, inputs: Inputs) -> Stages:
        vertex = self._reporter.start("[internal] load build definition from Dockerfile")
        try:
            text = self._source = inputs.source()
            file = parse.parse(text)
            self._reporter.status(vertex, f"transferring dockerfile: {sum(len(line) + 1 for line in text.lines)}B done")
            found = graph.stages(file, self._request.build_args, self.platform_args())
        except WherryError as error:
            self._reporter.fail(vertex, error.message)
            raise
        self._reporter.done(vertex)
        if self._request.begin.base:
            first = found.stages[0].replace(base=self._request.begin.base)
            found = graph.indexed(found.replace(stages=(first, *found.stages[1:])))
        return found

    def _named_contexts(self) -> NamedContexts | NoContexts:
        if not self._request.contexts:
            return NoContexts()
        from wherry.engine.build_named import NamedContexts

        return NamedContexts(self._store, self._request.contexts, str(self._platform))

    def _timed(self, inputs: Inputs, stages: Stages) -> BuildRequest:
        """The request with the time of SOURCE_DATE_EPOCH, wherever it is said, and with that as an ARG's value.

        "context" is the newest file of the context, or the commit's time; a stage's name is the time of its base image.
        """
        request = self._request
        text = request.build_args.get(_EPOCH) or stages.arguments.get(_EPOCH) or ""
        if request.created_ns >= 0:
            seconds = request.created_ns // 1_000_000_000
        elif not text:
            return request
        elif text.isascii() and text.isdigit():
            seconds = int(text)
        elif text == "context":
            seconds = inputs.commit_s if inputs.commit_s >= 0 else self._opened(inputs).newest_s()
        else:
            stage = stages.named(text)
            if stage is None:
                raise BuildError(f"invalid {_EPOCH} {text!r}: it is seconds since 1970, context, or the name of a stage")
            while (parent := stages.base_of(stage)) is not None:
                stage = parent
            created = "" if stage.base == "scratch" else str(self.resolve(stage.base, stage.platform, stage).document.get("created") or "")
            seconds = times.parse_ns(created) // 1_000_000_000 if created else 0
        return request.replace(created_ns=seconds * 1_000_000_000, build_args={**request.build_args, _EPOCH: str(seconds)})

    def _begin(self, config: dict[str, Any]) -> None:
        """What the command line adds to a base image's config, and takes from it."""
        begin = self._request.begin
        for entry in begin.env:
            name = entry.partition("=")[0]
            config["Env"] = [e for e in config.get("Env") or () if e.partition("=")[0] != name] + [entry]
        if not begin.inherit_labels:
            config.pop("Labels", None)
        for name in begin.unset_labels:
            (config.get("Labels") or {}).pop(name, None)

    def platform_args(self) -> dict[str, str]:
        own, wanted = platform.host(), self._platform
        return {
            "BUILDPLATFORM": str(own),
            "BUILDOS": own.os,
            "BUILDARCH": own.architecture,
            "BUILDVARIANT": own.variant,
            "TARGETPLATFORM": str(wanted),
            "TARGETOS": wanted.os,
            "TARGETARCH": wanted.architecture,
            "TARGETVARIANT": wanted.variant,
        }

    def _warn_of_unused(self, stages: Stages, order: list[StageJob]) -> None:
        used = set(stages.arguments)
        for job in order:
            used |= job.state.used_args
        unused = [name for name in self._request.build_args if name not in used and name not in BUILT_IN]
        if unused:
            self._reporter.warn(f"[Warning] One or more build-args [{' '.join(unused)}] were not consumed")

    # -- checks ----------------------------------------------------------------------------------------------------------

    def _check(self, inputs: Inputs, stages: Stages, order: list[StageJob]) -> None:
        self._findings = self.findings(inputs, stages, order)
        if self._findings and self._check_wishes(stages).error:
            names = ", ".join(dict.fromkeys(f.rule.name for f in self._findings))
            first = self._findings[0]
            raise BuildError(f"lint violation found for rules: {names}", excerpt=stages.file.source.excerpt(first.span), hint=first.detail)

    def _check_wishes(self, stages: Stages) -> checks.Wishes:
        given = self._request.build_args.get("BUILDKIT_DOCKERFILE_CHECK")
        return checks.wishes(stages.file.directives.check if given is None else given)

    def findings(self, inputs: Inputs, stages: Stages, order: list[StageJob]) -> list[Finding]:
        """What the build checks say."""
        checker = checks.Checker(stages, self._check_wishes(stages))
        checker.text()
        checker.bases()
        takes_files = any(isinstance(step, CopyStep) and step.sources and not step.from_ for job in order for step in job.steps)
        ignore = inputs.ignored() if takes_files else None
        for job in order:
            checker.job(job, ignore)
        return checker.found()

    # -- images that stages begin with -----------------------------------------------------------------------------------

    def resolve(self, name: str, wanted: str, stage: Stage) -> Base:
        try:
            return self._image(name, wanted)
        except WherryError as error:
            excerpt = self._source.excerpt(stage.from_.node.span) if self._source else ""
            text = f"{name}: failed to resolve source metadata for {name}: {error.message}"
            raise BuildError(text, hint=error.hint, excerpt=excerpt) from None

    def _image(self, name: str, wanted: str = "") -> Base:
        """An image by name, pulled where it is missing."""
        named = self._request.contexts.get(name.lower(), "")
        if named:
            if named.startswith("docker-image://"):
                name = named.removeprefix("docker-image://")
            elif (name.lower(), wanted) not in self._bases:
                self._bases[name.lower(), wanted] = self._contexts.base(name, wanted or self._request.platform)
                return self._bases[name.lower(), wanted]
            else:
                return self._bases[name.lower(), wanted]
        key = (name, wanted)
        if key not in self._bases:
            self._bases[key] = self._found(name, wanted)
        return self._bases[key]

    def _found(self, name: str, wanted: str) -> Base:
        from wherry.engine.registry import ensure
        from wherry.engine.transfer_pull import Wishes

        chosen = platform.parse(wanted) if wanted else self._platform
        shown = reference.parse(name).tagged().canonical
        vertex = self._reporter.start(f"[internal] load metadata for {shown}")
        try:
            asked = str(chosen) if wanted or self._request.platform else ""
            image_id = ensure(
                self._engine,
                name,
                self._request.pull,
                wishes=Wishes(platform=asked, access=self._request.access),
                progress=lambda layer, text, _a, _b: self._note(vertex, layer, text),
            )
            row = images.find(self._store.db, image_id)
        except BaseException as error:
            self._reporter.fail(vertex, str(error))
            raise
        self._reporter.done(vertex)
        name_there = f"{shown}@{row.manifest_digest}" if row.manifest_digest and not reference.parse(name).digest else shown
        expected = f"{chosen.os}/{chosen.architecture}" + (f"/{chosen.variant}" if chosen.variant else "")
        return build_image.image_base(self._store, row.id, name_there).replace(wanted_platform=expected)

    def _note(self, vertex: Vertex, layer: str, text: str) -> None:
        if not layer:
            self._reporter.status(vertex, text)

    # -- the work --------------------------------------------------------------------------------------------------------

    def _carried_out(
        self, inputs: Inputs, stages: Stages, all_jobs: dict[int, StageJob], target: Stage, network: str, scratch: str
    ) -> BuildResult:
        request = self._request
        no_cache = self._uncached
        with Worker() as worker:
            runner = _Runner(lambda: self._step_runner(builder))
            imported = self._imported()
            takes = Takes(
                stages,
                all_jobs,
                lambda: self._opened(inputs),
                self._contexts.folders,
                self._image,
                lambda: self._fetcher(scratch),
                no_cache,
            )
            builder = Builder(
                self._store,
                stages,
                all_jobs,
                self._reporter,
                worker,
                runner,
                takes,
                no_cache=no_cache,
                network=network + request.run.shown,
                parallel=request.jobs or _PARALLEL,
                epoch_ns=request.created_ns,
                imported=imported,
            )
            takes.imported = imported
            try:
                result = builder.build(target.index)
            except BuildError as error:
                error.image = self._failed_image
                if "exec format error" in error.message and not error.hint:
                    error.hint = (
                        f"the step's program is not one of this machine's ({platform.host()}): programs of others run where binfmt_misc has a "
                        "handler for them (qemu-user-static); what only compiles can begin with FROM --platform=$BUILDPLATFORM"
                    )
                raise
            finally:
                self._contexts.save()
                if self._context is not None:
                    self._context.save()
            found = self._exported(worker, builder, takes, all_jobs[target.index], result)
            for spec in request.cache_to:
                self._export_cache(worker, builder, takes, result, spec)
            return found

    def _fetcher(self, scratch: str) -> Fetcher:
        from wherry.build.fetch import Fetcher

        return Fetcher(scratch, self._store.path("cache", "http"), self._request.run.secrets)

    def _step_runner(self, builder: Builder) -> StepRunner:
        from wherry.engine.build_run import StepRunner

        found = StepRunner(self._engine, self._request.run)
        found.attach(builder)
        if self._request.keep_failed:
            found.on_failure = lambda step, layers, tree: self._keep_failed(builder, step, layers, tree)
        return found

    def _imported(self) -> Imported | None:
        """What --cache-from knows. A source that can't be had is no error, as with BuildKit."""
        if not self._request.cache_from:
            return None
        from wherry.engine import build_cache

        found = build_cache.Imported(self._store, self._request.access, self._reporter.warn)
        for spec in self._request.cache_from:
            vertex = self._reporter.start(f"importing cache manifest from {spec.place}")
            try:
                count = found.add(spec)
            except (WherryError, OSError, KeyError, TypeError, ValueError) as error:
                self._reporter.fail(vertex, getattr(error, "message", str(error)))
                continue
            self._reporter.status(vertex, f"{count} steps")
            self._reporter.done(vertex)
        return found

    def _outgoing(self, builder: Builder, takes: Takes, result: Any, *, everything: bool) -> Outgoing:
        from wherry.engine import build_cache

        chosen = builder.steps_done if everything else {key: builder.steps_done[key] for key in result.keys if key in builder.steps_done}
        found = {key: self._store.db.row("SELECT layer_id FROM build_steps WHERE key = ?", (key,)) for key in chosen}
        steps_out = [(key, int(found[key][0]), made, text) for key, (_n, made, text) in chosen.items() if found[key] and found[key][0]]
        return build_cache.Outgoing(tuple(steps_out), tuple((key, what, digest) for (key, what), digest in takes.used.items()))

    def _export_cache(self, worker: Worker, builder: Builder, takes: Takes, result: Any, spec: CacheSpec) -> None:
        if spec.type == "inline":
            return
        from wherry.engine import build_cache
        from wherry.engine.transfer import silent

        vertex = self._reporter.start("exporting cache to " + ("client directory" if spec.type == "local" else "registry"))
        try:
            numbers = [layer for layer, _made, _text in builder.steps_done.values()]
            if spec.everything:
                build_image.name_layers(self._store, worker, list(dict.fromkeys(numbers)))
            else:
                build_image.name_layers(self._store, worker, result.layers)
            outgoing = self._outgoing(builder, takes, result, everything=spec.everything)
            digest = build_cache.export(self._store, outgoing, spec, self._request.access, silent)
        except (WherryError, OSError) as error:
            self._reporter.fail(vertex, getattr(error, "message", str(error)))
            if spec.ignore_error:
                return
            raise
        self._reporter.status(vertex, f"writing cache manifest {digest} done")
        self._reporter.done(vertex)

    def _keep_failed(self, builder: Builder, step: RunStep, layers: list[int], tree: str) -> None:
        """An image of what a failed step saw and wrote, for a shell in it. The first one of several."""
        if self._failed_image:
            return
        with builder.db_lock:
            made = steps.add(self._store, "failed-" + os.urandom(8).hex(), step.label, tree, builder.move)
            numbers, diff_ids = build_image.name_layers(self._store, builder.worker, [*layers[::-1], made[0]])
            own: dict[str, Any] = {"Env": list(step.env), "WorkingDir": step.cwd, "User": step.user}
            document = {
                "architecture": self._platform.architecture,
                "os": self._platform.os,
                "config": own,
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
                "history": [],
            }
            self._failed_image = build_image.commit(self._store, document, numbers, [])
            self._store.db.execute("DELETE FROM build_steps WHERE key LIKE 'failed-%'")

    def _opened(self, inputs: Inputs) -> Context:
        if self._context is None:
            self._context = inputs.context()
        return self._context

    def _uncached(self, job: StageJob) -> bool:
        return self._request.no_cache or job.stage.name in self._request.no_cache_stages

    def _exported(self, worker: Worker, builder: Builder, takes: Takes, job: StageJob, result: Any) -> BuildResult:
        outputs = self._request.outputs
        image_id = ""
        if not outputs or any(output.needs_image for output in outputs) or self._targets:
            image_id = self._committed(worker, builder, takes, job, result)
        if image_id and self._request.shape.has_manifest:
            from wherry.engine import build_manifest

            build_manifest.shape(self._store, image_id, self._request.shape)
        for output in outputs:
            from wherry.engine import build_output

            paths = builder.paths(result.layers[::-1])
            build_output.write(self._engine, output, image_id, self._targets, worker, paths, self._reporter, self._request.access)
        found = BuildResult(image_id, tuple(t.canonical for t in self._targets), tuple(self._findings), platform=str(self._platform))
        if not image_id:
            return found
        digest, media_type, size = build_image.described(self._store, image_id)
        return found.replace(digest=digest, media_type=media_type, size=size)

    def _layers(self, worker: Worker, builder: Builder, job: StageJob, result: Any) -> list[int]:
        """The image's layers, made into one as the request wants it."""
        base = job
        while base.parent is not None:
            base = base.parent
        below = len(base.base.layers) if base.base is not None else 0
        self._squashed = ""
        if not self._request.shape.squash:
            return list(result.layers)
        everything = self._request.shape.squash == "all"
        found = build_image.squash(self._store, worker, result, below, builder.move, everything=everything)
        if found != result.layers:
            self._squashed = self._request.shape.squash
        return found

    def _committed(self, worker: Worker, builder: Builder, takes: Takes, job: StageJob, result: Any) -> str:
        vertex = self._reporter.start("exporting to image")
        try:
            self._reporter.status(vertex, "exporting layers")
            numbers, diff_ids = build_image.name_layers(self._store, worker, self._layers(worker, builder, job, result))
            self._reporter.status(vertex, "exporting layers done")
            base = job
            while base.parent is not None:
                base = base.parent
            if base.base is not None and self._squashed != "all":
                # A base's own digests are the ones that its registry knows.
                diff_ids = [*base.base.diff_ids, *diff_ids[len(base.base.diff_ids) :]]
            document = build_image.document(
                job,
                result,
                diff_ids,
                self._platform,
                labels=self._request.labels,
                created_ns=self._request.created_ns,
                unset_env=self._request.begin.unset_env,
                squash=self._squashed,
                with_history=self._request.shape.history,
            )
            if any(spec.type == "inline" for spec in self._request.cache_to):
                from wherry.engine import build_cache

                outgoing = self._outgoing(builder, takes, result, everything=False)
                document[build_cache.INLINE] = build_cache.inline(outgoing, numbers)
            image_id = build_image.commit(self._store, document, numbers, self._targets)
            self._reporter.status(vertex, f"writing image {image_id} done")
            for target in self._targets:
                self._reporter.status(vertex, f"naming to {target.canonical} done")
        except BaseException as error:
            self._reporter.fail(vertex, str(error))
            raise
        self._reporter.done(vertex)
        return image_id


class NoContexts:
    """The build has no named contexts."""

    folders: dict[str, Context] = {}

    def __enter__(self) -> NoContexts:
        return self

    def __exit__(self, *_error: object) -> None:
        return

    def open(self) -> None:
        return

    def save(self) -> None:
        return

    def base(self, name: str, wanted: str) -> Base:
        raise BuildError(f"no build context {name}")


class _Runner:
    """Who carries RUN steps out, there from the first one on: a build that the cache answers needs none of it."""

    def __init__(self, make: Callable[[], StepRunner]) -> None:
        self._make = make
        self._made: StepRunner | None = None
        self._lock = threading.Lock()
        self._stopped = False

    def run(
        self, step: RunStep, layers: list[int], binds: list[Taken], output: Callable[[int, bytes], None]
    ) -> AbstractContextManager[str]:
        with self._lock:
            if self._made is None:
                self._made = self._make()
                if self._stopped:
                    self._made.kill_all()
        return self._made.run(step, layers, binds, output)

    def kill_all(self) -> None:
        with self._lock:
            self._stopped = True
            if self._made is not None:
                self._made.kill_all()


def tag_of(text: str) -> Reference:
    try:
        found = reference.parse(text).tagged()
    except InvalidArgument as error:
        raise InvalidArgument(f'invalid tag "{text}": {error.message}') from None
    if found.digest:
        raise InvalidArgument(f'invalid tag "{text}": refusing to create a tag with a digest reference')
    return found

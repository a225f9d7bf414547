"""What steps take in: files of the context, of other stages, of images, from URLs. Each with a digest for the key, known as cheaply
as can be: a stage isn't made to learn what is in it while the cache remembers.
"""

from __future__ import annotations

import os
import threading
import time

from wherry.build import git, keys
from wherry.build.context import Context, Match
from wherry.build.ignore import Ignore
from wherry.build.state import CopyStep, RunStep, Step
from wherry.errors import BuildError
from wherry.model import jsontext
from wherry.store import steps as cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from wherry.build.builder import Builder, Imported
    from wherry.build.fetch import Fetcher
    from wherry.build.graph import Stages
    from wherry.build.jobs import Base, StageJob
    from wherry.build.mounts import Mount


class Taken:
    """Something taken in. `action`: what the worker is told, made when the step is really done. `hashed_ns`: when its digest was
    made, 0 for what can't change."""

    def __init__(self, digest: str, action: Callable[[], dict[str, Any]], hashed_ns: int = 0) -> None:
        self.digest = digest
        self.action = action
        self.hashed_ns = hashed_ns


class Takes:
    """`context` None: the build has none. `named`: the contexts of --build-context by name. `image(name)` resolves an image."""

    def __init__(
        self,
        stages: Stages,
        jobs: dict[int, StageJob],
        context: Callable[[], Context],
        named: dict[str, Context],
        image: Callable[[str], Base],
        fetcher: Callable[[], Fetcher],
        no_cache: Callable[[StageJob], bool],
    ) -> None:
        self._stages = stages
        self._jobs = jobs
        self._context = context
        self._named = named
        self._image = image
        self._make_fetcher = fetcher
        self._fetched: Fetcher | None = None
        self._no_cache = no_cache
        self._lock = threading.RLock()
        self._keys: dict[int, str | None] = {}
        self.imported: Imported | None = None
        # (stage key, what was taken) → digest, as far as this build came to them.
        self.used: dict[tuple[str, str], str] = {}

    def attach(self, builder: Builder) -> None:
        self._builder = builder

    def of(self, step: Step) -> list[Taken]:
        """Everything that a step takes in. Raises BuildError."""
        if isinstance(step, CopyStep):
            return self._copied(step) if step.sources else []
        if isinstance(step, RunStep):
            return [self.mounted(mount) for mount in step.mounts if mount.type == "bind"]
        return []

    # -- keys without work -----------------------------------------------------------------------------------------------

    def known(self, job: StageJob) -> bool:
        """Whether the cache knows what all steps of a stage take from other stages."""
        if self._no_cache(job):
            return False
        return all(self._remembered(step) is not None for step in job.steps)

    def key_of(self, index: int) -> str | None:
        """The key of a stage's last step, None when it can't be said without doing something."""
        with self._lock:
            if index not in self._keys:
                self._keys[index] = self._stage_key(self._jobs[index])
            return self._keys[index]

    def _stage_key(self, job: StageJob) -> str | None:
        if self._no_cache(job):
            return None
        if job.parent is not None:
            row = [job.parent]
            while (above := row[-1].parent) is not None and above.stage.index not in self._keys:
                row.append(above)
            for parent in reversed(row):
                key = self.key_of(parent.stage.index)
        else:
            key = keys.SCRATCH if job.base is None else job.base.key
        for step in job.steps:
            if key is None:
                return None
            digests = self._remembered(step)
            if digests is None:
                return None
            key = self._builder.key(step, key, digests)
        return key

    def _remembered(self, step: Step) -> list[str] | None:
        """The digests of what a step takes in, None if another stage must be made to know."""
        for name, what in self._stage_takes(step):
            stage = self._stages.source(name)
            if stage is None or name in self._named:
                continue
            key = self.key_of(stage.index)
            if key is None or not self._digest(key, what):
                return None
        return [t.digest for t in self.of(step)]

    def _stage_takes(self, step: Step) -> Iterable[tuple[str, str]]:
        if isinstance(step, CopyStep) and step.from_:
            return [(step.from_, _what(step.sources, step.exclude))]
        if isinstance(step, RunStep):
            return [(m.from_, _what((m.source or "/",), ())) for m in step.mounts if m.type == "bind" and m.from_]
        return []

    def _digest(self, key: str, what: str) -> str:
        with self._builder.db_lock:
            found = cache.digest_of(self._builder.store, key, what)
        if not found and self.imported is not None:
            found = self.imported.digest(key, what)
            if found:
                with self._builder.db_lock:
                    cache.set_digest(self._builder.store, key, what, found)
        if found:
            self.used[key, what] = found
        return found

    # -- COPY and ADD ----------------------------------------------------------------------------------------------------

    def _copied(self, step: CopyStep) -> list[Taken]:
        if step.from_:
            context = self._named.get(step.from_.lower())
            if context is None:
                return [self._from_tree(step.from_, step.sources, step.exclude)]
            return [self._from_context(context, step, step.sources)]
        found: list[Taken] = []
        run: list[str] = []
        for source in step.sources:
            if step.add and git.is_remote(source):
                if run:
                    found.append(self._from_context(self._context(), step, tuple(run)))
                    run = []
                found.append(self._remote(step, source))
            else:
                run.append(source)
        if run:
            found.append(self._from_context(self._context(), step, tuple(run)))
        return found

    def _from_context(self, context: Context, step: CopyStep, sources: tuple[str, ...]) -> Taken:
        exclude = Ignore(step.exclude) if step.exclude else None
        with self._lock:
            hashed_ns = time.time_ns()
            digests: list[str] = []
            rows: list[tuple[Match, str, bool]] = []
            for pattern in sources:
                pivot, clean = _pivot(pattern) if step.parents else ("", pattern)
                matches = context.matches(clean)
                for match in matches:
                    if exclude is not None and not match.entry.is_folder and exclude.matches(os.path.basename(match.shown)):
                        continue
                    unpack = self._unpacks(context, step, match)
                    inner = match.shown[len(pivot) + 1 :] if pivot and match.shown.startswith(pivot + "/") else match.shown
                    destination = f"{step.destination.rstrip('/')}/{inner}" if step.parents else step.destination
                    rows.append((match, destination, unpack))
                    digests.append(f"{unpack} {inner if step.parents else ''} {context.digest(match, exclude)}")
            if not rows and any(map(_is_plain, sources)):
                raise BuildError(f"no source files were specified for {step.instruction.word}")
            if len(rows) > 1 and not step.destination.endswith("/"):
                raise BuildError(
                    f"When using {step.instruction.word} with more than one source file, the destination must be a directory and end with a /"
                )

        def action() -> dict[str, Any]:
            with self._lock:
                listed = [
                    [m.path, m.shown, context.listing(m, exclude), destination, unpack, step.parents] for m, destination, unpack in rows
                ]
            return {"context": context.path, "sources": listed}

        return Taken(keys.of("context", digests), action, hashed_ns)

    def _unpacks(self, context: Context, step: CopyStep, match: Match) -> bool:
        """ADD unpacks a local archive, told by its contents, never by its name."""
        if not step.add or step.unpack is False or match.entry.is_folder:
            return False
        return is_archive(f"{context.path}/{match.path}")

    def _remote(self, step: CopyStep, source: str) -> Taken:
        with self._lock:
            if self._fetched is None:
                self._fetched = self._make_fetcher()
        got = self._fetched.get(source, step)

        def action() -> dict[str, Any]:
            shown = got.name
            row = [got.path, shown, got.listing, step.destination, got.unpack, False]
            return {"context": got.folder, "sources": [row], **({} if step.chmod else {"chmod": got.chmod})}

        return Taken(keys.of("remote", got.name, got.digest, str(got.unpack)), action)

    def _from_tree(self, name: str, sources: tuple[str, ...], exclude: tuple[str, ...]) -> Taken:
        """Out of another stage or an image."""
        what = _what(sources, exclude)
        key, layers = self._tree(name)
        digest = self._digest(key, what) if key else ""
        if not digest:
            lowers = layers()
            folder = self._builder.store.staging("digest")
            os.makedirs(folder + "/mnt", 0o700)
            try:
                digest = str(
                    self._builder.worker.do(
                        {"do": "digest", "folder": folder, "lowers": lowers, "sources": list(sources), "exclude": list(exclude)}
                    )
                )
            finally:
                os.rmdir(folder + "/mnt")
                os.rmdir(folder)
            if key:
                with self._builder.db_lock:
                    cache.set_digest(self._builder.store, key, what, digest)
                self.used[key, what] = digest
        return Taken(digest, lambda: {"lowers": layers(), "sources": list(sources)})

    def _tree(self, name: str) -> tuple[str, Callable[[], list[str]]]:
        """The key of a tree ("" when what was remembered of it must not be used), and its layers, topmost first."""
        stage = self._stages.source(name)
        if stage is None:
            base = self._image(name)
            return base.key, lambda: self._builder.paths(list(base.layers[::-1]))
        index = stage.index
        key = self.key_of(index) or ""
        return key, lambda: self._builder.paths(self._builder.result(index).layers[::-1])

    # -- RUN --mount=type=bind ---------------------------------------------------------------------------------------------

    def mounted(self, mount: Mount) -> Taken:
        """What a bind shows. Its action has "folder" (of the host), or "lowers" and "path" (to be copied out)."""
        source = mount.source or "/"
        context: Context | None = self._context() if not mount.from_ else self._named.get(mount.from_.lower())
        if context is None:
            taken = self._from_tree(mount.from_, (source,), ())
            return Taken(taken.digest, lambda: {"lowers": taken.action()["lowers"], "path": source})
        with self._lock:
            hashed_ns = time.time_ns()
            match = context.matches(source)[0]
            digest = context.digest(match, None)
        hidden = None if context.ignore.empty else context
        return Taken(
            keys.of("bind", digest),
            lambda: {"folder": f"{context.path}/{match.path}".rstrip("/"), "hidden": hidden, "match": match},
            hashed_ns,
        )


def _what(sources: tuple[str, ...], exclude: tuple[str, ...]) -> str:
    return jsontext.dumps([list(sources), list(exclude)])


def _pivot(pattern: str) -> tuple[str, str]:
    """What stands before /./ is not kept by --parents."""
    head, mark, tail = pattern.partition("/./")
    return (head.strip("/"), f"{head}/{tail}") if mark else ("", pattern)


def _is_plain(source: str) -> bool:
    return not any(c in source for c in "*?[")


def is_archive(path: str) -> bool:
    """Whether a file is a tar, compressed or not, by its first member's header."""
    from wherry.archive import streams

    try:
        with open(path, "rb") as file:
            head = streams.plain(file).peek(512)
    except Exception:
        # Whatever its decompressor thinks of it: no archive.
        return False
    return is_tar_header(head)


def is_tar_header(block: bytes) -> bool:
    """The checksum tells: old tars have no other mark."""
    if len(block) < 512:
        return False
    field = block[148:156].strip(b" \0")
    try:
        wanted = int(field, 8)
    except ValueError:
        return False
    return sum(block[:148]) + 8 * 32 + sum(block[156:512]) == wanted

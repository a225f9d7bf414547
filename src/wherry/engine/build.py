"""`Engine.build`: an image out of a Dockerfile, and what is kept of builds."""

from __future__ import annotations

import fcntl
import os

from wherry.build.progress import Vertex as Vertex
from wherry.engine.build_request import BuildRequest as BuildRequest
from wherry.engine.build_request import BuildResult as BuildResult
from wherry.errors import Conflict
from wherry.model.record import Record
from wherry.store import steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from wherry.build.progress import Display as Display
    from wherry.engine import Engine
    from wherry.engine.build_call import Survey
    from wherry.engine.build_mounts import CacheMount
    from wherry.store import Store
    from wherry.store.steps import CachedStep


# Looked at after a build, so that the cap of the cache means something; what is left over is measured after the next one.
_MEASURED_ENTRIES = 20_000


class Usage(Record):
    """What `builder du` shows: steps with their sizes, and how much would come free."""

    steps: tuple[CachedStep, ...]
    total_bytes: int
    reclaimable_bytes: int


class PruneWishes(Record):
    """`reserved_bytes` stay in any case; at most `max_used_bytes` stay; `min_free_bytes` are to be free on the disk. 0: no such limit.

    `all`: also steps whose layers are in use, and the folders of cache mounts. `older_than_ns`: only what wasn't used since.
    """

    all: bool = False
    reserved_bytes: int = 0
    max_used_bytes: int = 0
    min_free_bytes: int = 0
    older_than_ns: int = 0

    @property
    def limited(self) -> bool:
        return bool(self.reserved_bytes or self.max_used_bytes or self.min_free_bytes)


class Builds:
    """The use cases around builds."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def build(self, request: BuildRequest, display: Display | None = None) -> BuildResult:
        """Build an image. `display` gets what happens. Raises BuildError, LaunchError, NotFound, RegistryError, StoreError."""
        with _InUse(self._engine.store) as held:
            steps.forget_torn(self._engine.store)
            from wherry.engine.build_one import OneBuild

            if "," in request.platform:
                from wherry.engine import build_multi

                result = build_multi.build(self._engine, request, display)
            else:
                result = OneBuild(self._engine, request, display).run()
            if request.manifest and "," not in request.platform and result.image_id:
                from wherry.engine import build_multi

                build_multi.join_list(self._engine, request.manifest, result.image_id, request)
            self._measure(_MEASURED_ENTRIES)
            if held.alone():
                steps.prune(self._engine.store, keep_bytes=steps.KEEP_BYTES)
        return result

    def survey(self, request: BuildRequest) -> Survey:
        """What a Dockerfile says of itself: checks, outline, targets."""
        from wherry.engine.build_call import Survey

        return Survey(self._engine, request)

    def usage(self) -> Usage:
        self._measure(-1)
        found = steps.everything(self._engine.store)
        seen: dict[int | None, int] = {step.layer: step.size_bytes for step in found}
        kept = {step.layer for step in found if step.shared}
        free = sum(size for layer, size in seen.items() if layer not in kept)
        return Usage(tuple(found), sum(seen.values()), free)

    def _measure(self, entries: int) -> None:
        """Find out what layers weigh that no image needed yet; at most so many entries are looked at, -1 for all."""
        store = self._engine.store
        sizes: dict[int, int] = {}
        for number in steps.unmeasured(store):
            if entries == 0:
                break
            size, entries = _tree_size(store.path("layers", str(number)), entries)
            if entries:
                # An empty layer is known to be one, too.
                sizes[number] = max(size, 1)
        if sizes:
            steps.measured(store, sizes)

    def prune(self, wanted: PruneWishes) -> tuple[list[CachedStep], int]:
        """Forget cached steps, the least recently used first; what went, and the bytes that came free. Raises Conflict."""
        with _InUse(self._engine.store) as held:
            if not held.alone():
                raise Conflict("a build is running", hint="prune the build cache when it has ended")
            before = self.usage()
            keep = self._kept(wanted, before)
            if keep == -1:
                return [], 0
            gone, _freed = steps.prune(self._engine.store, keep_bytes=keep, older_than_ns=wanted.older_than_ns, shared_too=wanted.all)
            if wanted.all and not keep:
                steps.drop_mounts(self._engine.store, wanted.older_than_ns)
            return gone, sum({s.layer: s.size_bytes for s in gone if not s.shared}.values())

    def _kept(self, wanted: PruneWishes, before: Usage) -> int:
        """How many bytes may stay; 0 for no limit of that kind, -1 when nothing has to go."""
        if not wanted.limited:
            return 0
        most = before.reclaimable_bytes
        if wanted.max_used_bytes:
            most = min(most, wanted.max_used_bytes)
        if wanted.min_free_bytes:
            space = os.statvfs(self._engine.store.root)
            most = min(most, before.reclaimable_bytes - max(0, wanted.min_free_bytes - space.f_bavail * space.f_frsize))
        if not wanted.max_used_bytes and not wanted.min_free_bytes:
            most = 0
        most = max(most, wanted.reserved_bytes)
        return -1 if most >= before.reclaimable_bytes else max(most, 1)

    # -- cache mounts ----------------------------------------------------------------------------------------------------

    def caches(self) -> list[CacheMount]:
        """The folders of RUN --mount=type=cache."""
        from wherry.engine import build_mounts

        return build_mounts.everything(self._engine.store)

    def export_cache(self, name: str, fd: int) -> None:
        """Write the contents of a cache mount as a tar. Raises NotFound."""
        from wherry.engine import build_mounts

        build_mounts.export(self._engine.store, name, fd)

    def import_cache(self, name: str, fd: int) -> None:
        """Fill a cache mount with what a tar holds, in the place of what it had. Raises ArchiveError, Conflict (a build uses it)."""
        from wherry.engine import build_mounts

        build_mounts.import_(self._engine.store, name, fd)


def _tree_size(path: str, entries: int) -> tuple[int, int]:
    """(bytes of a tree, as far as this user can read it; how many of the entries that may be looked at are left)"""
    size = 0
    todo = [path]
    while todo and entries:
        try:
            with os.scandir(todo.pop()) as listing:
                for entry in listing:
                    entries -= 1
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    else:
                        size += entry.stat(follow_symlinks=False).st_size
                    if not entries:
                        break
        except OSError:
            continue
    return size, entries


class _InUse:
    """Held by every build, so that nobody prunes what it is about to use. Several hold it at once."""

    def __init__(self, store: Store) -> None:
        self._path = store.run_path("build.lock")
        self._fd = -1

    def __enter__(self) -> _InUse:
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_SH)
        return self

    def alone(self) -> bool:
        """Whether nobody else holds it; from then on nobody else gets it."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._fd)

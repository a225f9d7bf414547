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
    from wherry.store import Store
    from wherry.store.steps import CachedStep


class Usage(Record):
    """What `builder du` shows: steps with their sizes, and how much would come free."""

    steps: tuple[CachedStep, ...]
    total_bytes: int
    reclaimable_bytes: int


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
            if held.alone():
                steps.prune(self._engine.store, keep_bytes=steps.KEEP_BYTES)
        return result

    def survey(self, request: BuildRequest) -> Survey:
        """What a Dockerfile says of itself: checks, outline, targets."""
        from wherry.engine.build_call import Survey

        return Survey(self._engine, request)

    def usage(self) -> Usage:
        found = steps.everything(self._engine.store)
        found = [self._measured(step) for step in found]
        seen: dict[int | None, int] = {step.layer: step.size_bytes for step in found}
        kept = {step.layer for step in found if step.shared}
        free = sum(size for layer, size in seen.items() if layer not in kept)
        return Usage(tuple(found), sum(seen.values()), free)

    def _measured(self, step: CachedStep) -> CachedStep:
        """A layer that no image needed yet was never measured."""
        if step.size_bytes or step.layer is None:
            return step
        return step.replace(size_bytes=_tree_size(self._engine.store.path("layers", str(step.layer))))

    def prune(self, *, all: bool = False, keep_bytes: int = 0, older_than_ns: int = 0) -> tuple[list[CachedStep], int]:
        """Forget cached steps; `all` also those whose layers are in use, and the folders of cache mounts. Raises Conflict."""
        with _InUse(self._engine.store) as held:
            if not held.alone():
                raise Conflict("a build is running", hint="prune the build cache when it has ended")
            before = self.usage()
            gone, _freed = steps.prune(self._engine.store, keep_bytes=keep_bytes, older_than_ns=older_than_ns, shared_too=all)
            if all and not keep_bytes:
                steps.drop_mounts(self._engine.store, older_than_ns)
            sizes = {step.key: step.size_bytes for step in before.steps}
            gone = [step.replace(size_bytes=sizes.get(step.key, step.size_bytes)) for step in gone]
            return gone, sum({s.layer: s.size_bytes for s in gone if not s.shared}.values())


def _tree_size(path: str) -> int:
    """Bytes of a tree, as far as this user can read it."""
    size = 0
    for folder, _folders, files in os.walk(path):
        for name in files:
            try:
                size += os.lstat(f"{folder}/{name}").st_size
            except OSError:
                continue
    return size


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

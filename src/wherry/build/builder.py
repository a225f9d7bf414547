"""Carries a build's stages out: cached steps looked up, the others done, stages that don't need each other side by side."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import threading
import time

from wherry.build import jobs, keys, takes
from wherry.build.progress import Reporter, Vertex
from wherry.build.state import CopyStep, RunStep, Step, WorkdirStep
from wherry.errors import BuildError, LaunchError, WherryError
from wherry.store import steps as cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any, Protocol

    from wherry.build.graph import Stages
    from wherry.build.jobs import StageJob
    from wherry.build.mounts import Mount
    from wherry.build.takes import Takes
    from wherry.build.workers import Worker
    from wherry.store import Store

    class Runner(Protocol):
        """Carries a RUN out on layers (topmost first). The context manager gives the path of what it wrote, the builder's to take,
        and clears the rest away."""

        def run(
            self, step: RunStep, layers: list[int], binds: list[takes.Taken], output: Callable[[int, bytes], None]
        ) -> AbstractContextManager[str]: ...

        def kill_all(self) -> None: ...

    class Imported(Protocol):
        """Steps of other machines (--cache-from)."""

        def find(self, key: str, db_lock: Any) -> tuple[int, int] | None: ...

        def digest(self, key: str, what: str) -> str: ...


_THREADS = 16


class Canceled(Exception):
    """Another stage has failed, or the user gave up."""


class StageResult:
    """`layers`: numbers, the lowest first. `made_ns`: when each layer above the base's was made."""

    def __init__(self, key: str, layers: list[int], made_ns: list[int], keys: list[str]) -> None:
        self.key = key
        # Of each layer above the base's.
        self.keys = keys
        self.layers = layers
        self.made_ns = made_ns


class _Task:
    """A stage that somebody is at work on or will be."""

    def __init__(self, job: StageJob) -> None:
        self.job = job
        self.done = threading.Event()
        self.result: StageResult | None = None
        self.error: BaseException | None = None
        self.taken = False


class Builder:
    """One build. `result(stage index)` does what is needed for a stage and gives its layers."""

    def __init__(
        self,
        store: Store,
        stages: Stages,
        all_jobs: dict[int, StageJob],
        reporter: Reporter,
        worker: Worker,
        runner: Runner,
        takes: Takes,
        *,
        no_cache: Callable[[StageJob], bool],
        network: str,
        parallel: int,
        epoch_ns: int = -1,
        imported: Imported | None = None,
    ) -> None:
        self.store = store
        self._imported = imported
        self.reporter = reporter
        self.worker = worker
        self._stages = stages
        self._runner = runner
        self._takes = takes
        self._no_cache = no_cache
        self._network = network
        self.epoch_ns = epoch_ns
        self._tasks = {index: _Task(job) for index, job in all_jobs.items()}
        self._slots = threading.Semaphore(parallel)
        self._lock = threading.Lock()
        # The store's connection is not for several threads at once.
        self.db_lock = threading.RLock()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._used: list[str] = []
        # key → (layer, when it was made, label) of every step that this build came to.
        self.steps_done: dict[str, tuple[int, int, str]] = {}
        takes.attach(self)

    # -- stages ----------------------------------------------------------------------------------------------------------

    def build(self, target: int) -> StageResult:
        """Everything for the target stage. Raises BuildError and what the steps raise; ctrl-C stops all."""
        threads: list[threading.Thread] = []
        try:
            with self._interruptible():
                self._start(target, threads)
                return self._wait(target)
        except BaseException as error:
            self._cancel(error)
            raise
        finally:
            for thread in threads:
                thread.join()
            with self.db_lock:
                cache.touch(self.store, self._used)

    def _interruptible(self) -> _Interruptible:
        return _Interruptible()

    def _start(self, target: int, threads: list[threading.Thread]) -> None:
        """A thread for each stage that the target needs and that the cache doesn't answer for."""
        waiting = self._wanted(target)
        lock = threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    if not waiting:
                        return
                    index = waiting.pop(0)
                self._work(self._tasks[index])

        # A stage that waits for another one does it itself when nobody is at it: few threads are enough for many stages.
        for number in range(min(len(waiting), _THREADS)):
            thread = threading.Thread(target=work, name=f"stages {number}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # No memory for its stack: those that run do its work.
                break
            threads.append(thread)
        if not threads:
            work()

    def _wanted(self, target: int) -> list[int]:
        """The target, and the stages that it takes from before their contents are known to the cache."""
        found: dict[int, None] = {}
        todo = [target]
        while todo:
            index = todo.pop()
            if index in found:
                continue
            found[index] = None
            job = self._tasks[index].job
            if job.parent is not None:
                todo.append(job.parent.stage.index)
            if not self._takes.known(job):
                todo += jobs.needed_by(self._stages, job)
        return list(found)

    def _work(self, task: _Task) -> None:
        with self._lock:
            if task.taken:
                return
            task.taken = True
        try:
            task.result = self._stage(task.job)
        except BaseException as error:
            task.error = error
            self._cancel(error)
        finally:
            task.done.set()

    def result(self, index: int) -> StageResult:
        """The result of a stage: waited for where somebody is at it, else made here."""
        task = self._tasks[index]
        self._work(task)
        return self._wait(index)

    def _wait(self, index: int) -> StageResult:
        task = self._tasks[index]
        while not task.done.wait(0.5):
            continue
        if task.error is not None:
            raise self._failure or task.error
        if task.result is None:
            raise Canceled
        return task.result

    def _cancel(self, error: BaseException) -> None:
        with self._lock:
            if self._failure is None and not isinstance(error, Canceled):
                self._failure = error
        self._stop.set()
        self._runner.kill_all()

    def check_canceled(self) -> None:
        if self._stop.is_set():
            raise Canceled

    # -- steps -----------------------------------------------------------------------------------------------------------

    def _stage(self, job: StageJob) -> StageResult:
        result = self._begin(job)
        for number, step in enumerate(job.steps, 2):
            self.check_canceled()
            label = job.step_label(number, step.label)
            result.key, (layer, made_ns) = self._step(job, step, result.key, result.layers, label)
            result.layers.append(layer)
            result.made_ns.append(made_ns)
            result.keys.append(result.key)
            self.steps_done[result.key] = (layer, made_ns, label)
        return result

    def _begin(self, job: StageJob) -> StageResult:
        if job.parent is not None:
            # The oldest first: a long row of stages is no deep recursion.
            row = [job.parent]
            while (above := row[-1].parent) is not None and not self._tasks[above.stage.index].done.is_set():
                row.append(above)
            for parent in reversed(row[1:]):
                self.result(parent.stage.index)
            below = self.result(job.parent.stage.index)
            return StageResult(below.key, list(below.layers), list(below.made_ns), list(below.keys))
        if job.base is None:
            return StageResult(keys.SCRATCH, [], [], [])
        self.reporter.cached(job.step_label(1, f"FROM {job.base.name}"))
        return StageResult(job.base.key, list(job.base.layers), [], [])

    def _step(self, job: StageJob, step: Step, parent: str, layers: list[int], label: str) -> tuple[str, tuple[int, int]]:
        """The key of a step, and its layer with the time it was made."""
        try:
            taken = self._takes.of(step)
            key = self.key(step, parent, [t.digest for t in taken])
        except BuildError as error:
            raise self._placed(error, step) from None
        fresh = self._no_cache(job)
        if not fresh:
            found = self._cached(key, label)
            if found is not None:
                return key, found
        with self._slots, _StepLock(self, key):
            if not fresh:
                # Another build may have done it while we waited.
                found = self._cached(key, label)
                if found is not None:
                    return key, found
            return key, self._perform(step, key, layers, taken, label)

    def key(self, step: Step, parent: str, digests: list[str]) -> str:
        """The key of a step on a parent, with the digests of what it takes in."""
        if isinstance(step, RunStep):
            return keys.run(step, parent, digests, step.network or self._network, self.epoch_ns)
        if isinstance(step, CopyStep):
            return keys.copy(step, parent, digests, self.epoch_ns)
        assert isinstance(step, WorkdirStep)
        return keys.workdir(step, parent, self.epoch_ns)

    def _cached(self, key: str, label: str) -> tuple[int, int] | None:
        with self.db_lock:
            found = cache.find(self.store, key)
        if found is None and self._imported is not None:
            found = self._imported.find(key, self.db_lock)
        if found is None:
            return None
        with self.db_lock:
            self._used.append(key)
        self.reporter.cached(label)
        return found

    def _perform(self, step: Step, key: str, layers: list[int], taken: list[takes.Taken], label: str) -> tuple[int, int]:
        self.check_canceled()
        vertex = self.reporter.start(label)
        try:
            with self._made(step, layers, taken, vertex) as (tree, changed), self.db_lock:
                # What changed while it was copied is used, and not remembered under a key that speaks of something else.
                name = f"{key}-{os.urandom(8).hex()}" if changed else key
                made = cache.add(self.store, name, label, tree, self.move)
        except BaseException as error:
            canceled = self._stop.is_set() or isinstance(error, (Canceled, KeyboardInterrupt))
            self.reporter.fail(vertex, str(error), canceled=canceled)
            if canceled:
                raise Canceled from None
            if isinstance(error, (BuildError, LaunchError)):
                raise self._placed(error, step, vertex, label) from None
            raise
        self.reporter.done(vertex)
        return made

    @contextlib.contextmanager
    def _made(self, step: Step, layers: list[int], taken: list[takes.Taken], vertex: Vertex) -> Iterator[tuple[str, bool]]:
        """The tree of a step's layer; whether something changed after it had been hashed."""
        if isinstance(step, RunStep):
            with self._runner.run(step, layers[::-1], taken, lambda n, data: self.reporter.output(vertex, n, data)) as tree:
                yield tree, False
            return
        folder = self.store.staging("build")
        try:
            latest_ns = self._work_on(folder, step, layers, taken)
            hashed_ns = min((t.hashed_ns for t in taken if t.hashed_ns), default=0)
            yield folder + "/over/upper", bool(hashed_ns) and latest_ns > hashed_ns
            # All but the tree that was taken is gone already.
            shutil.rmtree(folder)
        except BaseException:
            from wherry.store import treeop

            treeop.remove_trees([folder])
            raise

    def _work_on(self, folder: str, step: Step, layers: list[int], taken: list[takes.Taken]) -> int:
        """Have the worker make a layer; the newest ctime of what it copied."""
        for path in (folder, folder + "/over", folder + "/over/upper", folder + "/over/work", folder + "/mnt"):
            os.mkdir(path, 0o755)
        linked = isinstance(step, CopyStep) and step.link
        lowers = self.paths(layers[::-1])
        job = {
            "do": "layer",
            "folder": folder,
            "lowers": [] if linked else lowers,
            "actions": self._actions(step, taken, lowers if linked else []),
            "epoch_ns": self.epoch_ns,
        }
        return int(self.worker.do(job)["latest_ns"])

    def _actions(self, step: Step, taken: list[takes.Taken], users: list[str]) -> list[dict[str, object]]:
        if isinstance(step, WorkdirStep):
            return [{"do": "workdir", "path": step.path, "user": step.user}]
        assert isinstance(step, CopyStep)
        shared = {
            "do": "copy",
            "chown": step.chown,
            "chmod": step.chmod,
            "destination": step.destination,
            "epoch_ns": self.epoch_ns,
            "exclude": list(step.exclude),
            "parents": step.parents,
            "users": users,
        }
        actions: list[dict[str, object]] = []
        if step.files:
            actions.append({**shared, "files": [list(f) for f in step.files], "sources": []})
        actions += [{**shared, "files": [], **t.action()} for t in taken]
        return actions

    def fill(self, mount: Mount, folder: str) -> None:
        """Put what a cache mount begins with (a stage's or an image's files) into its new folder."""
        action = self._takes.mounted(mount).action()
        if "lowers" not in action:
            raise BuildError(f"cache mount {mount.id}: from={mount.from_} is a folder of the host", hint="use a stage or an image")
        scratch = self.store.staging("fill")
        os.makedirs(scratch + "/mnt", 0o755)
        try:
            work = {"do": "extract", "folder": scratch, "lowers": action["lowers"], "path": action["path"]}
            self.worker.do({**work, "target": folder, "to": "/"})
        finally:
            os.rmdir(scratch + "/mnt")
            os.rmdir(scratch)

    def move(self, old: str, new: str) -> None:
        """Rename a tree; where it belongs to an id that the user isn't, as root of R."""
        try:
            os.rename(old, new)
        except PermissionError:
            self.worker.do({"do": "rename", "from": old, "to": new})

    def paths(self, layers: list[int]) -> list[str]:
        """Folders of layers. One that is there twice counts where it comes first: overlayfs takes none twice."""
        return [self.store.path("layers", str(n)) for n in dict.fromkeys(layers)]

    def _placed(self, error: WherryError, step: Step, vertex: Vertex | None = None, label: str = "") -> BuildError:
        """The error with the lines that it is about and the end of what the step wrote."""
        if isinstance(error, BuildError) and error.excerpt:
            return error
        excerpt = self._stages.file.source.excerpt(step.instruction.node.span)
        log = ""
        if vertex is not None and vertex.log:
            lines = bytes(vertex.log).decode("utf-8", "replace").splitlines()[-20:]
            log = f" > {label}:\n" + "\n".join(lines) + "\n"
        return BuildError(error.message, hint=error.hint, excerpt=excerpt, log=log, exit_code=1)


class _Interruptible:
    """SIGTERM stops a build as ctrl-C does: what it has started is ended, not left to the next command's sweep."""

    def __enter__(self) -> _Interruptible:
        import signal

        self._old = None
        if threading.current_thread() is threading.main_thread():
            self._old = signal.signal(signal.SIGTERM, self._stop)
        return self

    def _stop(self, _number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    def __exit__(self, *_error: object) -> None:
        import signal

        if self._old is not None:
            signal.signal(signal.SIGTERM, self._old)


class _StepLock:
    """Two builds that come to the same step: one does it, the other waits and finds it done."""

    def __init__(self, builder: Builder, key: str) -> None:
        self._builder = builder
        folder = builder.store.run_path("locks")
        os.makedirs(folder, 0o700, exist_ok=True)
        # A few files for all keys: two different steps that share one only wait for each other, and nothing piles up.
        self._path = f"{folder}/step-{key[:3]}"
        self._fd = -1

    def __enter__(self) -> _StepLock:
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return self
                except BlockingIOError:
                    self._builder.check_canceled()
                    time.sleep(0.02)
        except BaseException:
            os.close(self._fd)
            raise

    def __exit__(self, *_error: object) -> None:
        os.close(self._fd)

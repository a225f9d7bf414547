"""A few jobs at a time, in threads, for work that waits for lines and for other programs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")


def at_once(jobs: list[Callable[[], T]], most: int) -> list[T]:
    """Run jobs, at most so many at a time, and return what they gave, in order. The first error ends it: jobs not begun are dropped,
    those under way are waited for. An interrupt doesn't wait: what they leave, the next command's sweep finds.
    """
    import queue
    import threading

    if len(jobs) == 1:
        return [jobs[0]()]
    results: dict[int, Any] = {}
    errors: list[BaseException] = []
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[None] = queue.SimpleQueue()
    for number in range(len(jobs)):
        waiting.put(number)

    def work() -> None:
        while not errors:
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                break
            try:
                results[number] = jobs[number]()
            except BaseException as error:
                errors.append(error)
        done.put(None)

    count = min(most, len(jobs))
    for _ in range(count):
        threading.Thread(target=work, daemon=True).start()
    for _ in range(count):
        done.get()
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(jobs))]

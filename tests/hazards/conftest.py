"""Fixtures of the hazard tests: images made to do harm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from support import hostile
from support.engine import Wherry


@pytest.fixture
def make_image(w: Wherry, rootfs: Path) -> Iterator[hostile.MakeImage]:
    """make_image(member, …, changes=[…]) imports an image and gives its name; it is removed after the test."""
    made: list[str] = []

    def make(*members: hostile.Member, changes: Iterable[str] = ()) -> str:
        made.append(hostile.image(w, rootfs, f"hostile{len(made)}", members, changes))
        return made[-1]

    yield make
    w.forget_all()
    for name in made:
        w.ok("rmi", "-f", name)

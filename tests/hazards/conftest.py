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
    yield from _maker(w, rootfs)


def _maker(w: Wherry, rootfs: Path) -> Iterator[hostile.MakeImage]:
    made: list[str] = []

    def make(*members: hostile.Member, changes: Iterable[str] = ()) -> str:
        made.append(hostile.image(w, rootfs, f"hostile{len(made)}", members, changes))
        return made[-1]

    yield make
    w.forget_all()
    for name in made:
        w.ok("rmi", "-f", name)


@pytest.fixture
def make_image_root(w_root: Wherry, rootfs: Path) -> Iterator[hostile.MakeImage]:
    """The same for root alone, for what doesn't depend on who runs it."""
    yield from _maker(w_root, rootfs)

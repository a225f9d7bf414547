"""Networks need ip, nft and curl of the machine to look at what wherry did; without them these tests are skipped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.engine import Wherry

from .world import Outside, has


@pytest.fixture
def outside() -> Iterator[Outside]:
    for program in ("ip", "curl", "ss"):
        if not has(program):
            pytest.skip(f"{program} is not installed")
    with Outside() as found:
        yield found


def forget_networks(w: Wherry) -> None:
    w("rm", "-f", *(w("ps", "-aq").stdout.split() or ["-"]))
    names = [n for n in w.ok("network", "ls", "--format", "{{.Name}}").split() if n not in ("bridge", "host", "none")]
    if names:
        w.ok("network", "rm", *names)


@pytest.fixture
def nw(w_root: Wherry) -> Iterator[Wherry]:
    """Root's engine; networks that a test made go with it."""
    yield w_root
    forget_networks(w_root)

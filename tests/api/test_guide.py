"""The examples of the guide: each runs as a program of its own and prints what the page says."""

from __future__ import annotations

import re

import pytest

from support.engine import Wherry
from support.place import CHECKOUT

PAGE = (CHECKOUT / "docs/guides/python-api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```\n+```text\n(.*?)```", PAGE, re.DOTALL)


def program(w: Wherry, code: str) -> str:
    """What a program prints that runs as the user, on the user's store, with the installed package."""
    path = w.file("program.py", code)
    env = {"WHERRY_ROOT": str(w.root), "WHERRY_RUNROOT": str(w.runroot)}
    done = w.host(w.command.parent / "python", "-I", "-X", "utf8", path, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_ten_examples() -> None:
    assert len(EXAMPLES) == 11  # the first one is before the ten


@pytest.mark.parametrize("number", range(11))
def test_example_prints_what_the_page_says(w_user: Wherry, number: int) -> None:
    code, expected = EXAMPLES[number]
    assert program(w_user, code) == expected


@pytest.mark.parametrize("number", [1, 5, 7])
def test_examples_as_others(w_root: Wherry, w_nosubids: Wherry, number: int) -> None:
    code, expected = EXAMPLES[number]
    for w in (w_root, w_nosubids):
        assert program(w, code) == expected

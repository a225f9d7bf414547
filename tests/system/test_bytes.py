"""Arguments, variables and labels of the caller's that are no UTF-8: Linux has bytes there."""

from __future__ import annotations

import os

import pytest

from support.engine import Wherry

ODD = os.fsdecode(b"a\xff\xc3\xa9")


def test_arguments_and_variables_reach_the_container_as_they_are(w: Wherry) -> None:
    done = w("run", "--rm", "-e", f"ODD={ODD}", "busybox", "sh", "-c", 'echo "$ODD" "$1"', "sh", ODD, text=False)
    assert (done.returncode, done.stdout) == (0, b"a\xff\xc3\xa9 a\xff\xc3\xa9\n"), done.stderr
    assert w("run", "--name", "odd", "-l", f"k={ODD}", "busybox", "echo", ODD, text=False).stdout == b"a\xff\xc3\xa9\n"
    assert w("start", "-a", "odd", text=False).stdout == b"a\xff\xc3\xa9\n"
    assert w("inspect", "-f", "{{.Args}}", "odd", text=False).stdout == b"[a\xff\xc3\xa9]\n"
    assert '"echo a?é"' in w.ok("ps", "-a")


@pytest.mark.parametrize("words", [["inspect", ODD], ["run", "--rm", ODD], ["rm", ODD], ["logs", ODD], ["ps", "-f", f"name={ODD}"]])
def test_names_that_are_no_text_are_no_fault_of_ours(w_root: Wherry, words: list[str]) -> None:
    done = w_root(*words, text=False)
    assert b"internal error" not in done.stderr and b"Traceback" not in done.stderr
    assert done.returncode == (0 if words[0] == "ps" else 125 if words[0] == "run" else 1)

"""The start-up budget: which modules the hot commands load. The interpreter's start is most of a command's time (docs/internals/records.md)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.engine import Wherry

SOURCE = str(Path(__file__).parents[2] / "src")

# Each costs milliseconds or brings in one that does.
HEAVY = frozenset(
    "argparse ast asyncio bz2 collections contextlib copy csv ctypes dataclasses datetime decimal dis email enum fnmatch functools "
    "gzip hashlib heapq html http importlib.metadata inspect json locale logging lzma operator pathlib pickle platform random re "
    "selectors shlex shutil signal socket ssl string struct subprocess tarfile tempfile textwrap threading tokenize tomllib "
    "traceback typing unicodedata urllib urllib.parse urllib3 uuid weakref zipfile zstandard isal".split()
)
# What _sqlite3 of some Pythons brings in by itself.
OF_SQLITE = frozenset("functools collections reprlib operator".split())

SCRIPT = """
import os, sys
sys.path.insert(0, {source!r})
from wherry.cli.main import run
sys.argv = ["wherry"]
code = run({words!r})
os.write({fd}, ("\\n".join(sys.modules) + "\\n").encode())
os._exit(code)
"""


def loaded(words: list[str]) -> set[str]:
    """The modules in the process of a command, run as the installed one is: isolated and without site."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", SCRIPT.format(source=SOURCE, words=words, fd=writer)],
        pass_fds=(writer,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    os.close(writer)
    with os.fdopen(reader) as file:
        names = set(file.read().split())
    error = process.communicate()[1]
    assert process.returncode == 0, error
    return names


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--rm", "busybox", "true"],
        ["run", "-d", "busybox", "true"],
        ["exec", "up", "true"],
        ["ps"],
        ["ps", "-a"],
        ["inspect", "up"],
        ["logs", "up"],
        ["create", "--name", "made", "busybox"],
        ["start", "made2"],
        ["stop", "-t", "0", "up"],
        ["kill", "up"],
        ["rm", "-f", "up"],
        ["images"],
    ],
    ids=" ".join,
)
def test_hot_commands_load_nothing_heavy(w_root: Wherry, words: list[str]) -> None:
    w_root.ok("run", "-d", "--name", "up", "busybox", "sleep", "100")
    w_root.ok("create", "--name", "made2", "busybox", "true")
    names = loaded(["--root", str(w_root.root), "--runroot", str(w_root.runroot), *words])
    assert "wherry.engine" in names
    assert not (names & HEAVY) - OF_SQLITE, sorted((names & HEAVY) - OF_SQLITE)


def test_version_opens_no_store() -> None:
    names = loaded(["version"])
    assert "_sqlite3" not in names and "wherry.store" not in names
    assert not names & HEAVY

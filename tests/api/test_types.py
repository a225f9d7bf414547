"""What a type checker sees of the package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.place import CHECKOUT

HERE = Path(__file__).parent


def test_a_users_program_is_clean_under_strict_types_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    mypy = Path(sys.executable).parent / "mypy"
    if not mypy.exists():
        pytest.skip("mypy is not in the environment that runs the tests (make test puts it there)")
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import wherry\n\nwherry.Engine().containers.run('busybox', tty='yes', colour='red')\n")
    env = {**os.environ, "MYPYPATH": str(CHECKOUT / "src")}
    words = [mypy, "--strict", "--config-file=", "--python-version=3.11", "--follow-imports=silent", f"--cache-dir={tmp_path}/cache"]
    done = subprocess.run([*map(str, words), str(HERE / "user_program.py"), str(wrong)], env=env, cwd=HERE, capture_output=True, text=True)
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 2 and all(line.startswith(str(wrong)) for line in errors), done.stdout
    assert 'Unexpected keyword argument "colour"' in done.stdout


def test_the_package_says_that_it_is_typed() -> None:
    assert (CHECKOUT / "src/wherry/py.typed").exists()

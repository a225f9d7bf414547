"""The command as a user has it: the wheel of this checkout in a fresh environment that every user can reach."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .place import CHECKOUT
from .turns import turn


def build_wheel(folder: Path) -> Path:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import wherry_build; print(wherry_build.build_wheel(sys.argv[2]))"
    with turn("build"):
        done = subprocess.run([sys.executable, "-c", code, str(CHECKOUT / "_build"), str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the wheel can't be built:\n{done.stdout}{done.stderr}")
    return folder / done.stdout.split()[-1]


def install(folder: Path) -> Path:
    """Install the wheel into `folder`/venv and return the path of the command. Raises RuntimeError with pip's words."""
    if "WHERRY_COMMAND" in os.environ:  # where there is no compiler somebody has done it before
        return Path(os.environ["WHERRY_COMMAND"])
    wheel = build_wheel(folder)
    found = subprocess.run([str(CHECKOUT / "tools/find-python"), "--reachable"], capture_output=True, text=True)
    python = found.stdout.strip() or sys.executable
    venv = folder / "venv"
    subprocess.run([python, "-m", "venv", str(venv)], check=True, capture_output=True)
    pip = [str(venv / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "-q", "--root-user-action=ignore"]
    done = subprocess.run([*pip, str(wheel)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the wheel can't be installed:\n{done.stdout}{done.stderr}")
    return venv / "bin/wherry"

"""Install what the tests and the linters need (pyproject.toml's `test`, `lint` and run-time lists) into this environment."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

with open(Path(__file__).resolve().parent.parent / "pyproject.toml", "rb") as f:
    project = tomllib.load(f)["project"]
wanted = [*project["dependencies"], *project["optional-dependencies"]["test"], *project["optional-dependencies"]["lint"]]
pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--root-user-action=ignore"]
sys.exit(subprocess.run([*pip, *wanted]).returncode)

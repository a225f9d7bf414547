"""docs/reference/ is what the command table and the settings say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def test_reference_pages_are_up_to_date() -> None:
    done = subprocess.run([sys.executable, str(CHECKOUT / "tools/reference.py"), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_setting_has_a_variable_and_a_meaning() -> None:
    page = (CHECKOUT / "docs/reference/settings.md").read_text()
    for key in ("root", "runroot", "log_max_size", "log_max_file", "plain_binds", "detach_keys"):
        assert f"| `{key}` | `WHERRY_{key.upper()}` |" in page

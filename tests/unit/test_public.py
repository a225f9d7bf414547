"""Public means exported, and this test pins it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import wherry
from support.place import CHECKOUT


def test_exported_names() -> None:
    assert wherry.__all__ == ["Engine", "WherryError", "__version__"]
    assert all(getattr(wherry, name) for name in wherry.__all__)
    assert dir(wherry) == sorted(wherry.__all__)
    with pytest.raises(AttributeError):
        _ = wherry.nothing


def test_the_package_alone_imports_nothing() -> None:
    code = "import sys; before = set(sys.modules); import wherry; print(sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(CHECKOUT / 'src')!r}); {code}"],
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "['__future__', 'wherry']"

"""Public means exported, and this test pins it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import wherry
from support.place import CHECKOUT

NAMES = (
    "AccessDenied ArchiveError BuildError Conflict Container ContainerError ContainerOptions Engine ExecResult HostError Image "
    "InvalidArgument LaunchError MonitorError Network NotFound Output Pruned RegistryError StoreError StoreFull Stream Unsupported Volume WherryError "
    "__version__"
).split()


def test_exported_names() -> None:
    assert wherry.__all__ == NAMES
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

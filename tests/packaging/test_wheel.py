"""The wheel and the source archive: what a user installs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from support.installed import build_wheel
from support.place import CHECKOUT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_there_is_one_wheel_for_every_python(wheel: Path) -> None:
    assert re.fullmatch(r"wherry-[\d.]+-py3-none-(manylinux_2_17|linux)_\w+(\.musllinux_1_1_\w+)?\.whl", wheel.name)


def test_native_program_is_inside_static_and_executable(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = archive.getinfo("wherry/_bin/wherry-native")
        assert info.external_attr >> 16 == 0o100755
        program = Path(archive.extract(info, tmp_path))
    program.chmod(0o755)
    assert b"ld-linux" not in program.read_bytes()[:4096] and b"ld-musl" not in program.read_bytes()[:4096]
    assert subprocess.run([program, "version"], capture_output=True, text=True).stdout


def test_no_extension_modules_and_nothing_that_was_only_built(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert not [n for n in names if n.endswith((".so", ".pyc")) or "__pycache__" in n]
    assert "wherry/cli/main.py" in names and "wherry/version.py" in names


def test_command_is_a_plain_script(wheel: Path) -> None:
    """An entry point's script imports `re` before anything else: too slow for a command that starts a container."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".data/scripts/wherry")]
        assert archive.read(name).startswith(b"#!python\n") and b"import re" not in archive.read(name)
        assert not [n for n in archive.namelist() if n.endswith("entry_points.txt")]


def test_build_is_reproducible(wheel: Path, tmp_path: Path) -> None:
    assert build_wheel(tmp_path).read_bytes() == wheel.read_bytes()


def test_source_archive_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import wherry_build; print(wherry_build.build_sdist(sys.argv[2]))"
    name = subprocess.run(
        [sys.executable, "-c", code, CHECKOUT / "_build", tmp_path], capture_output=True, text=True, check=True
    ).stdout.strip()
    with tarfile.open(tmp_path / name) as tar:
        tar.extractall(tmp_path, filter="data")
    source = tmp_path / name.removesuffix(".tar.gz")
    assert not (source / "src/wherry/_bin").exists()
    done = subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_installed_command_needs_no_compiler_and_no_package_of_the_distribution(command: Path) -> None:
    done = subprocess.run([command, "version"], env={"PATH": "/nowhere"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert os.access(command, os.X_OK)

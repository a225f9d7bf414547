"""The linters, run as tests: whoever runs the tests has run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.place import CHECKOUT

BIN = Path(sys.executable).parent


def run(*words: str | Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT / "src"), "NO_COLOR": "1"}
    done = subprocess.run([str(w) for w in words], cwd=CHECKOUT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"\n{done.stdout[-6000:]}{done.stderr[-3000:]}"


def tool(name: str) -> Path:
    path = BIN / name
    if not path.exists():
        pytest.skip(f"{name} is not in the environment that runs the tests (make test puts it there)")
    return path


def test_ruff_finds_nothing() -> None:
    run(tool("ruff"), "check", "--no-cache", "src", "tests", "tools", "bench", "_build")


def test_code_is_formatted() -> None:
    run(tool("ruff"), "format", "--no-cache", "--check", "src", "tests", "tools", "bench", "_build")


def test_types_hold_strictly() -> None:
    run(tool("mypy"), "--no-error-summary", f"--cache-dir={os.devnull}")


def test_imports_point_down() -> None:
    run(tool("lint-imports"), "--no-cache")


def test_every_text_file_ends_with_a_newline_and_names_no_place_of_a_machine() -> None:
    """What must not stand in the project: folders of the machine it is made on, hosts of package registries, secrets."""
    forbidden = [
        "/" + "work/main",
        "/" + "root/.pyenv",
        "pypi" + ".org",
        "files.python" + "hosted",
        "deb.debian" + ".org",
        "BEGIN " + "PRIVATE KEY",
    ]
    files = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True)
    names = files.stdout.split("\0") if files.returncode == 0 else [str(p.relative_to(CHECKOUT)) for p in CHECKOUT.rglob("*.py")]
    bad = []
    for name in filter(None, names):
        path = CHECKOUT / name
        if not path.is_file() or path.is_symlink():
            continue
        data = path.read_bytes()
        if b"\0" in data[:4096]:
            continue
        bad += [f"{name}: {word}" for word in forbidden if word.encode() in data]
        if data and not data.endswith(b"\n") and path.suffix in (".py", ".c", ".h", ".md", ".toml", ".def"):
            bad.append(f"{name}: no newline at the end")
    assert not bad, "\n".join(bad)


def test_modules_stay_small() -> None:
    """500 lines ask why, 800 never."""
    paths = [*CHECKOUT.glob("src/**/*.py"), *CHECKOUT.glob("native/*.[ch]"), *CHECKOUT.glob("tests/**/*.py")]
    large = {str(p.relative_to(CHECKOUT)): n for p in paths if (n := p.read_bytes().count(b"\n")) > 800}
    assert not large


def test_links_between_pages_lead_somewhere() -> None:
    pages = [*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))]
    assert len(links) > 5
    assert [f"{page.relative_to(CHECKOUT)}: {link}" for page, link in links if not (page.parent / link).exists()] == []

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.fake import FakeRegistry
from wherry.engine import Engine
from wherry.engine.transfer import Access
from wherry.engine.transfer_pull import Wishes


@pytest.fixture(autouse=True)
def nobodys_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Neither the user's nor the machine's configuration; the home folder that the tests see."""
    home = tmp_path / "home"
    home.mkdir()
    empty = tmp_path / "registries.conf"
    empty.write_text("")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(empty))
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", *(f"{p}_proxy" for p in ("http", "https", "no"))):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return home


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    found = FakeRegistry()
    yield found
    found.close()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    if not (Path(__file__).parents[2] / "src/wherry/_bin/wherry-native").exists():
        pytest.skip("the native program isn't built (make native)")
    with Engine(str(tmp_path / "store"), str(tmp_path / "run")) as found:
        yield found
        assert sorted(n for n in os.listdir(tmp_path / "store/staging")) == []


@pytest.fixture
def quick() -> Wishes:
    """Retries without long waits."""
    return Wishes(platform="linux/amd64", access=Access(retry_delay_s=0.01))

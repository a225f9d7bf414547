"""The build cache between machines: --cache-to on one, --cache-from on another; what it must not do."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.fake import FakeRegistry
from support.engine import Wherry

# What comes out of it shows whether its steps were done again.
DOCKERFILE = """
FROM busybox AS tools
RUN cat /proc/sys/kernel/random/uuid > /one
RUN cat /one /proc/sys/kernel/random/uuid > /two
FROM busybox
COPY --from=tools /two /two
RUN cat /two > /three
COPY file /file
"""


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    found = FakeRegistry()
    yield found
    found.close()


def folder_of(w: Wherry) -> Path:
    folder = w.folder("cache")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "file").write_text("x\n")
    (folder / "file").chmod(0o644)
    subprocess.run(["chown", "-R", f"{w.user.uid}:{w.user.gid}", str(folder)], check=True)
    w("builder", "prune", "-af")
    return folder


def build(w: Wherry, folder: Path, *words: str) -> str:
    """The contents of what was built."""
    done = w("build", "-t", "cached", *words, str(folder))
    assert done.returncode == 0, f"{w.label}: {done.stderr}"
    return w.ok("run", "--rm", "--network", "none", "cached", "cat", "/two")


def forgotten(w: Wherry) -> None:
    w("rmi", "cached")
    w.ok("builder", "prune", "-af")


def test_a_folder_carries_steps_to_another_machine(w_root: Wherry, w_user: Wherry, reachable: Path) -> None:
    place = reachable / f"cache-{id(w_root)}"
    there = build(w_root, folder_of(w_root), "--cache-to", f"type=local,dest={place},mode=max")
    subprocess.run(["chmod", "-R", "a+rX", str(place)], check=True)
    folder = folder_of(w_user)
    assert build(w_user, folder, "--cache-from", f"type=local,src={place}") == there
    assert build(w_user, folder) == there
    forgotten(w_user)
    assert build(w_user, folder) != there
    forgotten(w_user)
    # With mode=min only what the result is made of goes out; that is enough for the same result.
    least = reachable / f"least-{id(w_root)}"
    build(w_root, folder_of(w_root), "--cache-to", f"type=local,dest={least}")
    assert len(list((least / "blobs/sha256").iterdir())) < len(list((place / "blobs/sha256").iterdir()))


def test_a_registry_carries_steps(w_user: Wherry, w_nosubids: Wherry, registry: FakeRegistry) -> None:
    name = f"{registry.host}/app/cache:main"
    there = build(w_user, folder_of(w_user), "--cache-to", f"type=registry,ref={name},mode=max")
    assert build(w_nosubids, folder_of(w_nosubids), "--cache-from", name) == there


def test_an_image_carries_its_own_steps(w_user: Wherry, w_root: Wherry, registry: FakeRegistry) -> None:
    name = f"{registry.host}/app/image:main"
    folder = folder_of(w_user)
    done = w_user("build", "--cache-to", "type=inline", "-t", name, "--push", str(folder))
    assert done.returncode == 0, done.stderr
    there = w_user.ok("run", "--rm", "--network", "none", name, "cat", "/two")
    again = folder_of(w_root)
    assert build(w_root, again, "--cache-from", name) == there
    forgotten(w_root)
    # An image that was pulled is no cache by itself.
    w_root.ok("pull", "-q", name)
    assert build(w_root, again) != there
    forgotten(w_root)
    assert build(w_root, again, "--cache-from", f"type=registry,ref={name}") == there


def test_a_source_that_is_missing_or_damaged_costs_only_time(w_user: Wherry, reachable: Path) -> None:
    folder = folder_of(w_user)
    done = w_user("build", "--cache-from", "type=local,src=/nowhere", str(folder))
    assert done.returncode == 0
    assert "ERROR: no build cache in /nowhere" in done.stderr
    place = w_user.folder("damaged")
    subprocess.run(["chown", str(w_user.user.uid), str(place)], check=True)
    there = build(w_user, folder, "--cache-to", f"type=local,dest={place},mode=max")
    forgotten(w_user)
    for blob in (place / "blobs/sha256").iterdir():
        data = blob.read_bytes()
        if not data.startswith(b"{"):
            blob.write_bytes(data[:-20] + b"damaged in transit!!")
    done = w_user("build", "-t", "cached", "--cache-from", f"type=local,src={place}", str(folder))
    assert done.returncode == 0, done.stderr
    assert "can't be used" in done.stderr
    assert w_user.ok("run", "--rm", "--network", "none", "cached", "cat", "/two") != there
    assert w_user.ok("system", "check").endswith("no problems") or "problem" not in w_user.ok("system", "check").replace("no problem", "")

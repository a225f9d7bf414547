"""--passwd-entry and --group-entry: a line for a container's user that its image doesn't know, in a copy of the file that is bound over it."""

from __future__ import annotations

import os
import stat

from wherry.model.mounts import MountSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.store import Store
    from wherry.store.containers import ContainerRow

_MAX_BYTES = 1 << 20


def mounts(store: Store, row: ContainerRow, record: dict[str, Any]) -> tuple[MountSpec, ...]:
    """The files to bind, made at the first start. A user or group that has an entry needs none."""
    config = record["Config"]
    uid, _, gid = str(config.get("User") or "0").partition(":")
    gid = gid or "0"
    found = []
    for name, key, number in (("passwd", "PasswdEntry", uid), ("group", "GroupEntry", gid)):
        if not config.get(key) or not number.isdigit():
            continue
        path = store.path("containers", row.id, name)
        if not os.path.exists(path) and not _extended(store, row, record, name, path, number, _filled(config, config[key], uid, gid)):
            continue
        found.append(MountSpec("bind", f"/etc/{name}", path))
    return tuple(found)


def _filled(config: dict[str, Any], entry: str, uid: str, gid: str) -> str:
    """podman's placeholders."""
    for word, value in (("$USERNAME", uid), ("$UID", uid), ("$GID", gid), ("$NAME", uid), ("$HOME", config.get("WorkingDir") or "/")):
        entry = entry.replace(word, value)
    return entry


def _extended(store: Store, row: ContainerRow, record: dict[str, Any], name: str, path: str, number: str, entry: str) -> bool:
    lowers = [store.path("layers", str(n)) for n in row.layer_numbers()]
    if record.get("Rootfs"):
        lowers.append(record["Rootfs"]["Path"])
    text = ""
    for tree in (store.path("containers", row.id, "over", "upper"), *lowers):
        there = _file_of(tree, name)
        if there is not None:
            text = there
            break
    if any(line.split(":")[2:3] == [number] for line in text.splitlines()):
        return False
    if text and not text.endswith("\n"):
        text += "\n"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.fchmod(fd, 0o644)
        os.write(fd, os.fsencode(text + entry + "\n"))
    finally:
        os.close(fd)
    return True


def _file_of(tree: str, name: str) -> str | None:
    """etc/<name> of one tree: None where it has none, "" where it takes it away. No link of an image leads out of its tree."""
    try:
        folder = os.open(tree + "/etc", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            return ""
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError:
        return ""
    finally:
        os.close(folder)
    try:
        return os.fsdecode(os.read(fd, _MAX_BYTES))
    finally:
        os.close(fd)

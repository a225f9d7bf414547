"""Mounts that several containers share: each in the mount namespace of a process of ours, which ends with the last of them.

<run>/volumes/<name>/ has `holder` ("pid start"), users/<container id> (who starts it), and mnt, where the holder sees the file system;
nobody else does. The launcher takes a detached copy of the mount from there (the plan's SOURCE_PART).
"""

from __future__ import annotations

import os

from wherry.errors import HostError
from wherry.kernel import native, process, userns
from wherry.store import volumes
from wherry.store.locks import FolderLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.model.mounts import MountSpec
    from wherry.store import Store
    from wherry.store.volumes import VolumeRow

_FLAGS = {
    "ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "sync": 16, "dirsync": 128, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21,
    "strictatime": 1 << 24,
}  # fmt: skip
_DEFAULTS = frozenset(("rw", "defaults", "suid", "dev", "exec", "async", "auto", "noauto", "nouser", "_netdev"))


def mounted(store: Store, container_id: str, row: VolumeRow, mount: MountSpec, kind: str, device: str, options: str) -> MountSpec:
    """The mount with the place where its file system is, which is mounted if it isn't. Raises HostError."""
    flags, data = 0, []
    for word in options.split(","):
        if word in _FLAGS:
            flags |= _FLAGS[word]
        elif word and word not in _DEFAULTS:
            data.append(word)
    folder = run_folder(store, row.name)
    with FolderLock(volumes.folder(store, row.name), f"volume: {row.name}"):
        note_user(folder, container_id)
        pid, start = holder(folder)
        if not process.alive(pid, start):
            pid, start = _start(store, row.name, [kind, device, ",".join(data), str(flags)])
            write_holder(folder, pid, start)
    return mount.replace(source=folder + "/mnt", holder=f"{pid} {start}")


def run_folder(store: Store, name: str) -> str:
    """The volume's folder in the run root, made where it is missing."""
    folder = store.run_path("volumes", name)
    os.makedirs(folder + "/users", 0o700, exist_ok=True)
    return folder


def note_user(folder: str, container_id: str) -> None:
    pid = os.getpid()
    path = f"{folder}/users/{container_id}"
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    os.symlink(f"{pid}.{process.start_time(pid)}", path)


def holder(folder: str) -> tuple[int, int]:
    """(pid, start) of the holder, (0, 0) when there was none yet."""
    words = process.read_text(folder + "/holder").split()
    return (int(words[0]), int(words[1])) if len(words) == 2 else (0, 0)


def write_holder(folder: str, pid: int, start: int) -> None:
    with open(folder + "/holder.new", "w", encoding="ascii") as file:
        file.write(f"{pid} {start}")
    os.rename(folder + "/holder.new", folder + "/holder")


def _start(store: Store, name: str, words: list[str]) -> tuple[int, int]:
    said, complaint = launched(store, [native.path(), "hold", run_folder(store, name), *words])
    numbers = said.split()
    if len(numbers) != 2:
        raise HostError(
            f"error while mounting volume '{name}': {complaint or 'the mount failed'}",
            hint="look at the volume's options with `volume inspect`",
        )
    return int(numbers[0]), int(numbers[1])


def launched(store: Store, words: list[str], environment: dict[str, str] | None = None, given: bytes = b"") -> tuple[str, str]:
    """Start a program as root of R, `given` as its standard input; what it says until it closes its standard output, and what it complains of."""
    prefix, found = userns.enter_command()
    living = resident(store) if prefix else 0
    if living:
        # The R that there is: its containers can have a mount only from a namespace that belongs to it.
        fd = os.open(f"/proc/{living}/ns/user", os.O_RDONLY)
        os.set_inheritable(fd, True)
        prefix = (native.path(), "enter", str(fd), "-", "--")
    try:
        return _launched([*prefix, *words], {**found, **(environment or {})}, given)
    finally:
        if living:
            os.close(fd)


def resident(store: Store) -> int:
    """The pid of some process of ours that lives in this user's R: a monitor or a holder; 0 when there is none."""
    for name in os.listdir(store.run_path("live")):
        pid, _, rest = name.partition(".")
        start = rest.partition(".")[0]
        if pid.isdigit() and start.isdigit() and process.alive(int(pid), int(start)):
            return int(pid)
    try:
        names = os.listdir(store.run_path("volumes"))
    except FileNotFoundError:
        return 0
    for name in names:
        found = holder(store.run_path("volumes", name))
        if found[0] and process.alive(*found):
            return found[0]
    return 0


def _launched(argv: list[str], environment: dict[str, str], given: bytes) -> tuple[str, str]:
    out_reader, out_writer = os.pipe()
    err_reader, err_writer = os.pipe()
    # A memory file, not a pipe: nothing waits for the reader, and nothing of it is in arguments, variables or on a disk.
    null = os.memfd_create("given", os.MFD_CLOEXEC)
    os.write(null, given)
    os.lseek(null, 0, os.SEEK_SET)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, out_writer, 1), (os.POSIX_SPAWN_DUP2, err_writer, 2)]
        os.posix_spawn(argv[0], argv, environment, file_actions=actions)
    finally:
        for fd in (null, out_writer, err_writer):
            os.close(fd)
    try:
        return _all(out_reader), _all(err_reader)
    finally:
        os.close(out_reader)
        os.close(err_reader)


def _all(fd: int) -> str:
    parts = []
    while part := os.read(fd, 4096):
        parts.append(part)
    return os.fsdecode(b"".join(parts))

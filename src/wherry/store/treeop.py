"""Tree work by the native program: unpacking, removing, syncing. An ordinary user's runs inside his user namespace R."""

from __future__ import annotations

import os

from wherry.errors import ArchiveError, StoreError, StoreFull
from wherry.kernel import native, userns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


# What the native program ends with before it has begun.
_NOT_ENTERED = 125


def remove_trees(paths: list[str]) -> None:
    """Remove folders with all that is in them, whoever owns it. What is gone already is no error. Raises StoreError."""
    # A command line holds about 2 MiB; staging's paths are short.
    for at in range(0, len(paths), 500):
        code, text = _run(["rmtree", *paths[at : at + 500]], None)
        if code == _NOT_ENTERED and not text.strip() and userns.current().mode != "host":
            raise userns.refused()
        if code:
            raise StoreError(f"removing {paths[at]}: {text.strip() or f'exit code {code}'}")


def sync(path: str) -> None:
    """Put everything of the file system that holds `path` on the platter."""
    code, text = _run(["sync", path], None)
    if code:
        raise StoreError(f"syncing {path} failed: {text.strip()}")


def unpack(
    folder: str,
    feed: Callable[[int], None],
    *,
    single: bool,
    max_bytes: int = -1,
    max_entries: int = -1,
    recipe: str = "",
    literal: bool = False,
    inside: bool = True,
) -> tuple[int, int]:
    """Unpack a tar stream into `folder`. `feed(fd)` writes the stream to a pipe. Returns (entries, bytes).

    With `recipe` a new file of that name gets what `pack` needs to make the same tar again. `literal`: no layer, but files as they
    are, into a folder that may hold some already. `inside=False`: as who we are, not as root of R.

    Raises ArchiveError for a malformed or hostile stream, StoreFull, and whatever `feed` raises.
    """
    words = ["unpack", folder, "--owners=single" if single else "--owners=keep"]
    if max_bytes >= 0:
        words.append(f"--max-bytes={max_bytes}")
    if max_entries >= 0:
        words.append(f"--max-entries={max_entries}")
    if recipe:
        words.append(f"--recipe={recipe}")
    if literal:
        words.append("--whiteouts=ignore")
    reader, writer = os.pipe()
    out_reader, out_writer = os.pipe()
    err_reader, err_writer = os.pipe()
    _widen(writer)
    try:
        pid = _spawn(words, reader, out_writer, err_writer, inside=inside)
    finally:
        for fd in (reader, out_writer, err_writer):
            os.close(fd)
    failure: BaseException | None = None
    try:
        feed(writer)
    except BrokenPipeError:
        # The unpacker has given up; its own words say why.
        failure = None
    except BaseException as error:
        failure = error
    finally:
        os.close(writer)
    said, complaint = _read_all(out_reader), _read_all(err_reader)
    _pid, status = os.waitpid(pid, 0)
    if failure is not None:
        raise failure
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise _unpack_error(complaint, code)
    numbers = dict(word.split("=") for word in said.split())
    return int(numbers["entries"]), int(numbers["bytes"])


def copy_tree(source: str, target: str, *, layer: bool = False) -> None:
    """Copy a folder with all that is in it, and what it is: owners, modes, times, attributes, links and holes. `target` may be there and
    be empty. `layer`: overlayfs's marks of what is deleted come along. Raises StoreError, StoreFull."""
    code, text = _run(["copytree", *(["--layer"] if layer else []), source, target], None)
    if code:
        raise _copy_error(text, code)


def copy_up(layers: str, numbers: list[int], path: str, target: str) -> str:
    """Copy the folder `path` of an image, whose trees are `layers`/<number> (topmost first), to `target`.

    "" when it was done; "missing" where the image has nothing there, "file" where it is no folder. Raises StoreError, StoreFull.
    """
    code, text = _run(["copyup", layers, ":".join(map(str, numbers)), path, target], None)
    if code in (3, 4):
        return "missing" if code == 3 else "file"
    if code:
        raise _copy_error(text, code)
    return ""


def tar_out(folder: str, fd: int) -> None:
    """Write the content of a folder to `fd` as a tar stream. Raises StoreError."""
    reader, writer = os.pipe()
    try:
        pid = _spawn(["tarout", folder], None, fd, writer)
    finally:
        os.close(writer)
    complaint = _read_all(reader)
    _pid, status = os.waitpid(pid, 0)
    if status:
        raise StoreError(f"writing a tar stream of {folder}: {complaint.strip() or os.waitstatus_to_exitcode(status)}")


def disk_usage(paths: list[str]) -> list[tuple[int, int, int]]:
    """For each folder: bytes on disk, bytes as its files say, entries. One that is gone counts as nothing. Raises StoreError."""
    found: list[tuple[int, int, int]] = []
    for at in range(0, len(paths), 500):
        reader, writer = os.pipe()
        err_reader, err_writer = os.pipe()
        try:
            pid = _spawn(["du", *paths[at : at + 500]], None, writer, err_writer)
        finally:
            os.close(writer)
            os.close(err_writer)
        lines, complaint = _read_all(reader).splitlines(), _read_all(err_reader)
        _pid, status = os.waitpid(pid, 0)
        if status:
            raise StoreError(f"measuring volumes: {complaint.strip() or status}")
        for line in lines:
            used, apparent, entries = map(int, line.split())
            found.append((used, apparent, entries))
    return found


def _copy_error(text: str, code: int) -> StoreError:
    said = text.strip() or f"exit code {code}"
    if "No space left" in said:
        return StoreFull(f"copying: {said}", hint="free some space on the file system of the store")
    return StoreError(f"copying failed: {said}")


class Packed:
    """The tar of a layer, made anew from its tree and its recipe, as a readable. Use it as a context manager.

    `read` raises StoreError at the end of what could not be made.
    """

    def __init__(self, folder: str, recipe: str) -> None:
        reader, writer = os.pipe()
        err_reader, err_writer = os.pipe()
        _widen(writer)
        try:
            self._pid = _spawn(["pack", folder, recipe], None, writer, err_writer)
        finally:
            os.close(writer)
            os.close(err_writer)
        self._fd, self._errors = reader, err_reader

    def read(self, size: int = 1 << 18) -> bytes:
        data = os.read(self._fd, size if size > 0 else 1 << 18)
        if not data and self._pid:
            said = _read_all(self._errors)
            _pid, status = os.waitpid(self._pid, 0)
            self._pid, self._errors = 0, -1
            if status:
                raise StoreError(f"a layer's tar can't be made again: {said.strip().removeprefix('pack: ') or status}")
        return data

    def __enter__(self) -> Packed:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the program go, also before its end."""
        for fd in (self._fd, self._errors):
            if fd >= 0:
                os.close(fd)
        if self._pid:
            os.waitpid(self._pid, 0)
        self._fd = self._errors = -1
        self._pid = 0

    def __del__(self) -> None:
        self.close()


def _unpack_error(complaint: str, code: int) -> Exception:
    lines = [line.removeprefix("unpack: ") for line in complaint.splitlines() if line != "unpack: a device node was left out"]
    if code == _NOT_ENTERED and not lines and userns.current().mode != "host":
        return userns.refused()
    text = "; ".join(lines) or f"the unpacker ended with {code}"
    if "No space left" in text:
        return StoreFull(f"unpacking: {text}", hint="free some space on the file system of the store")
    return ArchiveError(f"unpacking: {text}")


def _widen(fd: int) -> None:
    """A pipe of 1 MiB halves the switches between us and the unpacker; where it is refused the usual one serves."""
    import fcntl

    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 1 << 20)
    except OSError:
        return


def _run(words: list[str], stdin: int | None) -> tuple[int, str]:
    err_reader, err_writer = os.pipe()
    try:
        pid = _spawn(words, stdin, None, err_writer)
    finally:
        os.close(err_writer)
    text = _read_all(err_reader)
    _pid, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), text


def _spawn(words: list[str], stdin: int | None, stdout: int | None, stderr: int, *, inside: bool = True) -> int:
    prefix, environment = userns.enter_command() if inside else ((), {})
    program = native.path()
    argv = [*prefix, program, *words]
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        actions = [
            (os.POSIX_SPAWN_DUP2, null if stdin is None else stdin, 0),
            (os.POSIX_SPAWN_DUP2, null if stdout is None else stdout, 1),
            (os.POSIX_SPAWN_DUP2, stderr, 2),
        ]
        return os.posix_spawn(argv[0], argv, environment, file_actions=actions)
    finally:
        os.close(null)


def _read_all(fd: int) -> str:
    parts = []
    try:
        while part := os.read(fd, 1 << 16):
            parts.append(part)
    finally:
        os.close(fd)
    return os.fsdecode(b"".join(parts))

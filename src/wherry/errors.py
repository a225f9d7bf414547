"""The tree of errors. `cli/main` alone turns them into text and exit codes.

WherryError
├── UsageError            the words on the command line make no sense
├── NotFound              no such container, image, …
├── Conflict              a name is taken, an object is in use, a state forbids it
├── InvalidArgument       a value is malformed
├── Unsupported           understood, and not to be had here or not yet
├── StoreError            the store can't be read or written
│   └── StoreFull         no space is left
├── ArchiveError          an archive that came in is malformed or hostile
├── RegistryError         a registry can't be reached, or answers what it shouldn't
│   └── AccessDenied      it wants other credentials, or refuses these
├── BuildError            a Dockerfile is wrong, or one of its steps failed
├── LaunchError           a container's process could not be started
├── ContainerError        a container that a program waited for ended with another code than 0
├── MonitorError          a monitor does not answer as it should
└── HostError             the host lacks something; the hint says what to do
"""

from __future__ import annotations


class WherryError(Exception):
    """Base of all errors that wherry raises on purpose.

    `message` names the object, then the reason; `hint` the remedy (may be empty). `daemon` says that docker's client
    prints this error behind "Error response from daemon: ", and so does our command line.
    """

    exit_code = 1
    id = "error"
    daemon = True

    def __init__(self, message: str, *, hint: str = "", exit_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if exit_code is not None:
            self.exit_code = exit_code

    def __str__(self) -> str:
        return self.message


class UsageError(WherryError):
    """The words on the command line make no sense. Exit code 125 for run and create, 1 elsewhere."""

    id = "usage"
    daemon = False


class NotFound(WherryError):
    id = "not-found"


class Conflict(WherryError):
    id = "conflict"


class InvalidArgument(WherryError):
    id = "invalid-argument"


class Unsupported(WherryError):
    id = "unsupported"
    daemon = False


class StoreError(WherryError):
    id = "store"


class StoreFull(StoreError):
    id = "store-full"


class ArchiveError(WherryError):
    id = "archive"


class RegistryError(WherryError):
    id = "registry"


class AccessDenied(RegistryError):
    id = "access-denied"


class LaunchError(WherryError):
    """`exit_code` is docker's: 126 can't be invoked, 127 not found, 125 else. `errno` is the kernel's, 0 if none."""

    id = "launch"
    exit_code = 125

    def __init__(self, message: str, *, hint: str = "", exit_code: int | None = None, errno: int = 0) -> None:
        super().__init__(message, hint=hint, exit_code=exit_code)
        self.errno = errno


class ContainerError(WherryError):
    """Raised to programs only. `exit_code` is the container's, `stdout` and `stderr` are all that it wrote."""

    id = "container"
    daemon = False

    def __init__(self, container_id: str, exit_code: int, stdout: bytes = b"", stderr: bytes = b"") -> None:
        said = stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        super().__init__(
            f"container {container_id[:12]} ended with exit code {exit_code}" + (f": {said}" if said else ""), exit_code=exit_code
        )
        self.container_id = container_id
        self.stdout = stdout
        self.stderr = stderr


class BuildError(WherryError):
    """`excerpt`: the lines of the Dockerfile it is about; `log`: the end of what the failed step wrote. Both may be empty."""

    id = "build"
    daemon = False

    def __init__(self, message: str, *, hint: str = "", exit_code: int | None = None, excerpt: str = "", log: str = "") -> None:
        super().__init__(message, hint=hint, exit_code=exit_code)
        self.excerpt = excerpt
        self.log = log
        # Of what a failed step saw and wrote, where the build was asked to keep it.
        self.image = ""


class MonitorError(WherryError):
    id = "monitor"


class HostError(WherryError):
    id = "host"
    daemon = False

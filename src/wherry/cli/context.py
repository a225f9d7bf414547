"""What every command shares: the global options, the engine, ways to print."""

from __future__ import annotations

import os
import sys

from wherry.errors import Unsupported, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.engine import Engine
    from wherry.engine.transfer import Progress

# Under these names the command is the program of that name, as far as it goes; see `alias install`.
PROGRAMS = ("docker", "podman", "buildah")
_COMPATIBLE = {
    "docker": "Docker version 27.3.0, build wherry-{}",
    "podman": "podman version 5.4.0 (wherry {})",
    "buildah": "buildah version 1.39.0 (image-spec 1.1.0, runtime-spec 1.2.0, wherry {})",
}
_WITH_VALUE = {"--storage-driver", "--host", "-H", "--root", "--runroot", "--log-level", "-l", "--config", "--context", "-c"}
_LEVELS = ("debug", "info", "warn", "warning", "error", "fatal")


class Context:
    """One run of the command line."""

    def __init__(self) -> None:
        name = sys.argv[0].rpartition("/")[2] if sys.argv else ""
        self.program = name if name in PROGRAMS else "wherry"
        self.path = ""
        self.root: str | None = None
        self.runroot: str | None = None
        self.debugging = False
        self.finished: int | None = None
        self._engine: Engine | None = None
        self._shown: Progress | None = None

    def globals(self, words: list[str]) -> list[str]:
        """Take the global options off the front. Raises UsageError."""
        at = 0
        while at < len(words) and words[at].startswith("-") and words[at] != "-":
            word = words[at]
            name, equals, value = word.partition("=")
            at += 1
            if name in _WITH_VALUE:
                if not equals:
                    if at >= len(words):
                        raise _flag_error(f"flag needs an argument: {name}")
                    value = words[at]
                    at += 1
                self._global(name, value)
            elif name in ("--debug", "-D"):
                self.debugging = True
            elif name in ("--version", "-v"):
                from wherry.version import VERSION

                self.out(_COMPATIBLE.get(self.program, "wherry version {}").format(VERSION) + "\n")
                self.finished = 0
            elif name in ("--help", "-h"):
                from wherry.cli.help import overview

                self.out(overview(self, ""))
                self.finished = 0
            elif name in (
                "--tls",
                "--tlsverify",
                "--tlscacert",
                "--tlscert",
                "--tlskey",
                "--url",
                "--remote",
                "--connection",
            ):
                raise Unsupported(f"{name}: there is no daemon to talk to", hint="leave it out: wherry works in-process")
            else:
                raise _flag_error(f"unknown flag: {name}" if name.startswith("--") else f"unknown shorthand flag: '{name[1]}' in {word}")
        return words[at:]

    def _global(self, name: str, value: str) -> None:
        if name == "--root":
            self.root = value
        elif name == "--runroot":
            self.runroot = value
        elif name == "--config":
            # docker's folder of client settings: where credentials for registries are.
            os.environ["DOCKER_CONFIG"] = value
        elif name == "--storage-driver":
            if value not in ("overlay", "overlay2"):
                raise UsageError(f"--storage-driver {value}: there is one storage driver", hint="leave it out: overlay it is")
        elif name in ("--host", "-H"):
            if value not in ("", "default"):
                raise Unsupported(f"--host {value}: there is no daemon to talk to", hint="leave it out: wherry works in-process")
        elif name in ("--context", "-c"):
            if value != "default":
                raise UsageError(f'context "{value}" does not exist', hint="wherry works in-process: `default` is the only one")
        elif value.lower() not in _LEVELS:
            raise UsageError(f"Unable to parse logging level: {value}")
        elif value.lower() == "debug":
            self.debugging = True

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            from wherry.engine import Engine

            self._engine = Engine(self.root, self.runroot, on_warning=self.warn, debug=self._debug if self.debugging else None)
            self._engine.progress = self._pulling
        return self._engine

    def _pulling(self, name: str, status: str, there: int, all: int) -> None:
        """The progress of an image that is fetched for a container: on standard error, where docker has it."""
        if self._shown is None:
            from wherry.cli.commands.progress import shown

            self._shown = shown(2)
        self._shown(name, status, there, all)

    def _debug(self, line: str) -> None:
        os.write(2, encoded(f"plan: {line}\n"))

    def warn(self, text: str) -> None:
        os.write(2, encoded(f"WARNING: {text}\n"))

    def out(self, text: str) -> None:
        """Write to standard output; a closed one raises BrokenPipeError, which main turns into an exit code."""
        write(1, encoded(text))

    def error(self, text: str) -> None:
        write(2, encoded(text + "\n"))

    def fail(self, error: Exception) -> None:
        """An error of one of several arguments, as docker prints it; the others go on."""
        daemon = getattr(error, "daemon", False)
        self.error(f"Error response from daemon: {error}" if daemon else str(error))
        hint = getattr(error, "hint", "")
        if hint:
            self.error(hint)


def _flag_error(text: str) -> UsageError:
    from wherry.cli.options import FlagError

    return FlagError(text)


def encoded(text: str) -> bytes:
    """As the caller's locale has it, and as UTF-8 where it lacks a character. What came in undecodable goes out as it was."""
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


def write(fd: int, data: bytes) -> None:
    """All of `data`, also to a terminal that somebody made non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            import select

            waiter = select.poll()
            waiter.register(fd, select.POLLOUT)
            waiter.poll()

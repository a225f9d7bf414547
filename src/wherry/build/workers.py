"""The builder's end of its worker (`worker.py`): started when the first job comes, ended with the build."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading

from wherry.errors import BuildError, StoreError, StoreFull
from wherry.kernel import native, userns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

_ENOSPC = 28


class Worker:
    """A process that is root of R. A context manager; `do` may be called by several threads at once."""

    def __init__(self, running: int = 0) -> None:
        """`running`: the process of a container to work in; without it, trees of the store are worked on."""
        self._running = running
        self._control: socket.socket | None = None
        self._pid = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            if self._control is not None:
                self._control.close()
                self._control = None
                os.waitpid(self._pid, 0)

    def do(self, job: dict[str, Any], fd: int = -1) -> Any:
        """Have a job done; `fd` goes along where it needs one. Raises BuildError with the job's own words, StoreError when the worker is gone."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours:
            with theirs:
                socket.send_fds(self._started(), [b"j"], [theirs.fileno(), *([fd] if fd >= 0 else [])])
            ours.sendall(json.dumps(job).encode("utf-8", "surrogateescape"))
            ours.shutdown(socket.SHUT_WR)
            parts = []
            while part := ours.recv(1 << 20):
                parts.append(part)
        if not parts:
            raise StoreError("the process that works on layers was killed", hint="run the build again; what was finished is kept")
        answer = json.loads(b"".join(parts))
        if "ok" in answer:
            return answer["ok"]
        if answer.get("errno") == _ENOSPC:
            raise StoreFull(answer["error"], hint="free some space on the file system of the store")
        raise BuildError(answer["error"], hint=answer.get("trace", ""))

    def _started(self) -> socket.socket:
        with self._lock:
            if self._control is None:
                self._control = self._start()
            return self._control

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        prefix, environment = userns.enter_command()
        # In R it is root, and what it starts must not make another namespace.
        environment |= {userns.MARK: "1", "WHERRY_NATIVE": native.path()}
        if self._running:
            return self._start_joined(ours, theirs)
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        many = userns.current().mode != "single"
        code = f"import sys; sys.path.insert(0, {package!r}); from wherry.build.worker import main; main(3, {many})"
        argv = [*prefix, sys.executable, "-I", "-S", "-c", code]
        with theirs:
            actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 3)]
            if theirs.fileno() == 3:
                os.set_inheritable(3, True)
                actions = []
            self._pid = os.posix_spawn(argv[0], argv, environment, file_actions=actions)
        return ours

    def _start_joined(self, ours: socket.socket, theirs: socket.socket) -> socket.socket:
        """A process of our own user, in the container's user namespace where it has one, that sees its root by a descriptor."""
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        many = userns.current().mode != "single"
        environment = {"PATH": os.environ.get("PATH", os.defpath), userns.MARK: "1"}
        folder = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        with theirs:
            held = [theirs.detach()]
            try:
                held.append(os.open(f"/proc/{self._running}/root", folder))
                held.append(os.open(native.path(), os.O_PATH | os.O_CLOEXEC))
                if userns.of_process(self._running) != userns.of_process(os.getpid()):
                    held.append(os.open(f"/proc/{self._running}/ns/user", os.O_RDONLY | os.O_CLOEXEC))
                control, root, program = held[:3]
                names = held[3] if len(held) > 3 else -1
                for fd in held:
                    os.set_inheritable(fd, True)
                words = f"main_joined({control}, {root}, {names}, {program}, {many})"
                code = f"import sys; sys.path.insert(0, {package!r}); from wherry.build import worker; worker.{words}"
                argv = [sys.executable, "-I", "-S", "-c", code]
                self._pid = os.posix_spawn(argv[0], argv, environment)
            finally:
                for fd in held:
                    os.close(fd)
        return ours

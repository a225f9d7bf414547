"""The store: the only writer of what wherry keeps on disk. `docs/internals/store.md` describes it."""

from __future__ import annotations

import os

from wherry.errors import StoreError
from wherry.store import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store.db import Database

_FOLDERS = ("blobs", "blobs/sha256", "partial", "layers", "containers", "volumes", "snapshots", "secrets", "staging", "cache")


class Store:
    """An open store: `root` (on disk), `run` (until the reboot) and the database.

    Folders and database are made when they are missing. Raises StoreError, HostError.
    """

    def __init__(self, root: str | None = None, run: str | None = None) -> None:
        self.uid = os.geteuid()
        self.root = os.path.abspath(root or paths.default_root(self.uid))
        self._db: Database | None = None
        if not os.path.exists(self.root + "/wherry.db"):
            self._make()
        self.run = os.path.abspath(run or paths.named_run() or self._remembered_run())
        if not os.path.exists(self.run + "/boot"):
            paths.make_private(self.run, self.uid)
            os.makedirs(self.run + "/live", 0o700, exist_ok=True)
            # Before anybody looks: containers may run whose folders have been deleted.
            from wherry.store import recovery

            recovery.once_per_boot(self)

    def _remembered_run(self) -> str:
        """The run root that this store used last, as long as it is there: another session of the same user, with other variables,
        finds the same containers. Else the default, remembered from now on.
        """
        row = self.db.row("SELECT value FROM meta WHERE key = 'run'")
        if row is not None and paths.is_ours(str(row[0]), self.uid):
            return str(row[0])
        run = paths.default_run(self.uid)
        if row is None or row[0] != run:
            self.db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('run', ?)", (run,))
        return run

    def _make(self) -> None:
        old_umask = os.umask(0o022)
        try:
            os.makedirs(self.root, 0o711, exist_ok=True)
            for folder in _FOLDERS:
                # blobs and containers hold what other users of the host shouldn't read; containers' namespaces of root
                # reach layers and containers through descriptors, so nobody needs to pass here by name.
                os.makedirs(f"{self.root}/{folder}", 0o700, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the store {self.root} can't be made: {os.strerror(error.errno or 0)}", hint="name another folder with --root"
            ) from error
        finally:
            os.umask(old_umask)

    @property
    def db(self) -> Database:
        if self._db is None:
            from wherry.store.db import Database

            self._db = Database(self.root + "/wherry.db")
        return self._db

    def path(self, *parts: str) -> str:
        return "/".join((self.root, *parts))

    def run_path(self, *parts: str) -> str:
        return "/".join((self.run, *parts))

    def staging(self, kind: str) -> str:
        """A name in staging/ that no other process uses and that the sweep gives up when this process is gone."""
        from wherry.kernel import process

        pid = os.getpid()
        return f"{self.root}/staging/{kind}-{pid}-{process.start_time(pid)}-{os.urandom(6).hex()}"

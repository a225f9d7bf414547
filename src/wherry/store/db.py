"""The database: one connection, transactions, errors in wherry's terms.

`_sqlite3` is imported bare: the package `sqlite3` adds nothing we need and costs every command some milliseconds.
A command never closes its connection (see docs/internals/store.md); `os._exit` ends it.
"""

from __future__ import annotations

import _sqlite3
import os
import time

from wherry.errors import StoreError, StoreFull
from wherry.store import schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType
    from typing import Any

# SQLite waits this long for another process's transaction. Ours are short; only a stopped process holds one for long.
BUSY_TIMEOUT_S = 60.0
# Pages of WAL before a commit folds it into the database: small, as each new process reads the WAL when it opens.
_CHECKPOINT_PAGES = 400


class Database:
    """One process's connection. Not for several threads."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._depth = 0
        try:
            if not os.path.exists(path):
                _make_private(path)
            try:
                version = self._open()
            except _sqlite3.Error as error:
                # On a full disk not even the index that readers share can be made: what the store has put aside is for this.
                if not _is_of_a_full_disk(error) or not _use_reserve(path):
                    raise
                version = self._open()
        except _sqlite3.Error as error:
            raise _translated(error, path) from error
        if version != schema.VERSION:
            self._migrate(version)

    def _open(self) -> int:
        """Connect; the version of the schema."""
        self._connection = _sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        self._connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("PRAGMA foreign_keys=ON")
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _migrate(self, version: int) -> None:
        if version > schema.VERSION:
            raise StoreError(
                f"the store's database {self.path} has schema {version}, this wherry knows {schema.VERSION}",
                hint="use the newer wherry that wrote it, or another --root",
            )
        try:
            # Of several first commands at once one changes the mode; SQLite tells the others at once, without waiting.
            _patiently(self._connection, "PRAGMA journal_mode=WAL")
            self._connection.execute("BEGIN EXCLUSIVE")
            # Somebody else may have migrated it while we waited.
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            for number in range(version + 1, schema.VERSION + 1):
                for statement in _statements(schema.MIGRATIONS[number]):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version={number}")
            self._connection.execute("COMMIT")
        except _sqlite3.Error as error:
            self._roll_back()
            raise _translated(error, self.path) from error

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Run one statement; outside a transaction it commits by itself. Returns the cursor."""
        try:
            return self._connection.execute(sql, parameters)
        except _sqlite3.Error as error:
            raise _translated(error, self.path) from error

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        try:
            self._connection.executemany(sql, rows)
        except _sqlite3.Error as error:
            raise _translated(error, self.path) from error

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The first row as a tuple, or None."""
        return self.execute(sql, parameters).fetchone()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        return self.execute(sql, parameters).fetchall()  # type: ignore[no-any-return]

    def transaction(self, *, durable: bool = True) -> _Transaction:
        """A write transaction as a context manager; it may be entered inside another one and is then part of it.

        With `durable=False` a power cut may lose it (never tear it): for what nobody was told of.
        """
        return _Transaction(self, durable)

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except _sqlite3.Error:
            # The error that brought us here is the one to report; SQLite rolls back by itself at the next open.
            return

    def close(self) -> None:
        """Close the connection: for long-lived programs that open several stores. Commands leave by os._exit instead."""
        self._connection.close()


def _is_of_a_full_disk(error: Exception) -> bool:
    return "disk I/O error" in str(error) or "full" in str(error)


def _use_reserve(path: str) -> bool:
    """Give back the reserve beside the database (store/reserve.py). Whether there was one."""
    try:
        os.unlink(os.path.dirname(path) + "/reserve")
    except OSError:
        return False
    return True


def _make_private(path: str) -> None:
    """Containers' environments hold secrets; SQLite gives its other files the mode of this one."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        # SQLite will say the same, in the words that we translate.
        return
    try:
        os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


def _patiently(connection: Any, statement: str) -> None:
    """Execute a statement, trying again while another process is in the way, BUSY_TIMEOUT_S long."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    pause_s = 0.0005
    while True:
        try:
            connection.execute(statement)
            return
        except _sqlite3.OperationalError as error:
            if "locked" not in str(error) and "busy" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.005)


class _Transaction:
    def __init__(self, database: Database, durable: bool) -> None:
        self._database = database
        self._durable = durable

    def __enter__(self) -> Database:
        database = self._database
        if database._depth == 0:
            if not self._durable:
                database.execute("PRAGMA synchronous=NORMAL")
            self._begin(database)
        database._depth += 1
        return database

    def _begin(self, database: Database) -> None:
        # SQLite's own busy handler sleeps up to 100 ms a time; short sleeps keep many workers on one store quick.
        connection = database._connection
        connection.execute("PRAGMA busy_timeout=0")
        try:
            _patiently(connection, "BEGIN IMMEDIATE")
        except _sqlite3.Error as error:
            raise _translated(error, database.path) from error
        finally:
            connection.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        database = self._database
        database._depth -= 1
        if database._depth:
            return
        try:
            if error is None:
                database.execute("COMMIT")
            else:
                database._roll_back()
        except BaseException:
            database._roll_back()
            raise
        finally:
            if not self._durable:
                database.execute("PRAGMA synchronous=FULL")


def _statements(script: str) -> list[str]:
    """Split a migration at its semicolons; comments hold none, by a unit test."""
    lines = [line for line in script.splitlines() if not line.lstrip().startswith("--")]
    return [s.strip() for s in "\n".join(lines).split(";") if s.strip()]


def _translated(error: Exception, path: str) -> StoreError:
    text = str(error)
    if "full" in text:
        return StoreFull(
            f"the store's database {path} can't grow: no space left on device",
            hint="free some space on that file system; nothing that was acknowledged is lost",
        )
    if "readonly" in text or "unable to open" in text:
        return StoreError(
            f"the store's database {path} can't be opened for writing: {text}",
            hint="check the owner and the mode of that folder, or name another one with --root",
        )
    if "not a database" in text or "malformed" in text:
        return StoreError(f"the store's database {path} is damaged: {text}", hint="run `wherry system check --repair`, which keeps a copy")
    return StoreError(f"the store's database {path}: {text}")

"""The database: migrations, transactions, and what a killed process leaves."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from wherry.errors import StoreError
from wherry.store import schema
from wherry.store.db import Database, _statements


def test_no_migration_has_a_semicolon_in_a_comment() -> None:
    for script in schema.MIGRATIONS.values():
        for line in script.splitlines():
            assert not (line.lstrip().startswith("--") and ";" in line), line
            assert "--" not in line.lstrip()[2:], line


def test_a_new_database_gets_the_newest_schema(tmp_path: pathlib.Path) -> None:
    db = Database(str(tmp_path / "wherry.db"))
    assert db.row("PRAGMA user_version")[0] == schema.VERSION
    assert db.row("PRAGMA journal_mode")[0] == "wal"
    tables = {name for (name,) in db.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"meta", "layers", "images", "image_layers", "tags", "containers", "id_ranges"} <= tables
    assert len(_statements(schema.MIGRATIONS[1])) >= 10


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "wherry.db")
    db = Database(path)
    db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    db.close()
    with pytest.raises(StoreError, match="has schema"):
        Database(path)


def test_an_error_inside_a_transaction_rolls_all_of_it_back(tmp_path: pathlib.Path) -> None:
    db = Database(str(tmp_path / "wherry.db"))
    with pytest.raises(ZeroDivisionError), db.transaction():
        db.execute("INSERT INTO meta VALUES ('a', 1)")
        with db.transaction():
            db.execute("INSERT INTO meta VALUES ('b', 1)")
        raise ZeroDivisionError
    assert db.rows("SELECT * FROM meta") == []


def test_a_damaged_database_is_named_with_a_remedy(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "wherry.db"
    path.write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(StoreError) as caught:
        Database(str(path))
    assert "wherry.db" in caught.value.message and caught.value.hint


SOURCE = str(pathlib.Path(__file__).parents[2] / "src")

_WRITER = """
import sys
from wherry.store.db import Database
db = Database(sys.argv[1])
n = 0
while True:
    with db.transaction():
        n += 1
        db.execute("INSERT OR REPLACE INTO meta VALUES ('a', ?)", (n,))
        db.execute("INSERT OR REPLACE INTO meta VALUES ('b', ?)", (n,))
    print(n, flush=True)
"""


@pytest.mark.parametrize("round_number", range(5))
def test_what_was_acknowledged_survives_kill_9(tmp_path: pathlib.Path, round_number: int) -> None:
    path = str(tmp_path / "wherry.db")
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, path], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": SOURCE}
    )
    assert process.stdout
    said = 0
    for _ in range(20 + 7 * round_number):
        said = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    said = max([said, *(int(line) for line in process.stdout.read().split())])
    process.stdout.close()
    process.wait()
    values = dict(Database(path).rows("SELECT key, value FROM meta"))
    assert values["a"] == values["b"] >= said

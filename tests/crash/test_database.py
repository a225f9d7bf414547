"""The database under kill -9, without the rest: a writer that is killed in mid-commit loses nothing that it has said."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from support.place import CHECKOUT, rounds

# Two rows that always change together; what is on standard output has been committed.
WRITER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from wherry.store.db import Database
db = Database(sys.argv[2])
db.execute("INSERT OR IGNORE INTO meta VALUES ('left', 0), ('right', 0)")
while True:
    with db.transaction() as t:
        n = t.row("SELECT value FROM meta WHERE key = 'left'")[0] + 1
        t.execute("UPDATE meta SET value = ? WHERE key = 'left'", (n,))
        t.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"filler{n % 50}", "x" * (n % 7) * 1000))
        t.execute("UPDATE meta SET value = ? WHERE key = 'right'", (n,))
    os.write(1, b"%d\\n" % n)
"""
READER = """
import sys
sys.path.insert(0, sys.argv[1])
from wherry.store.db import Database
db = Database(sys.argv[2])
print(*[v for (v,) in db.rows("SELECT value FROM meta WHERE key IN ('left', 'right')")], db.row("PRAGMA integrity_check")[0])
"""


def program(text: str, path: Path) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", text, str(CHECKOUT / "src"), str(path)]


def test_writers_killed_in_mid_commit(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)
    path = tmp_path / "wherry.db"
    said = 0
    for number in range(rounds(10)):
        writers = [subprocess.Popen(program(WRITER, path), stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
        time.sleep(chance.uniform(0.02, 0.4))
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
        for writer in writers:
            out, err = writer.communicate(timeout=60)
            assert err == b"", f"seed {seed}, round {number}: {err.decode()}"
            said = max([said, *map(int, out.split())])
        found = subprocess.run(program(READER, path), capture_output=True, text=True, timeout=60)
        values = found.stdout.split()
        assert values[-1:] == ["ok"], f"seed {seed}, round {number}: {found}"
        if len(values) == 3:
            left, right = int(values[0]), int(values[1])
            assert left == right and left >= said, f"seed {seed}, round {number}: {left} {right}, said {said}"
        else:
            assert said == 0
    assert said > 0


def test_migration_killed(tmp_path: Path) -> None:
    """Making the database is all or nothing, and several may try it at once."""
    chance = random.Random()
    opener = "import sys; sys.path.insert(0, sys.argv[1]); from wherry.store.db import Database; Database(sys.argv[2])"
    check = f"{opener}; d = Database(sys.argv[2]); print(d.row('PRAGMA user_version')[0], len(d.rows('SELECT * FROM containers')))"
    for number in range(rounds(10)):
        path = tmp_path / f"{number}.db"
        openers = [subprocess.Popen(program(opener, path), stderr=subprocess.PIPE) for _ in range(3)]
        time.sleep(chance.uniform(0.01, 0.12))
        for process in openers:
            process.kill()
        for process in openers:
            _, err = process.communicate(timeout=60)
            assert err == b"", err.decode()
        found = subprocess.run(program(check, path), capture_output=True, text=True, timeout=60)
        assert found.stderr == "" and int(found.stdout.split()[0]) >= 1, found

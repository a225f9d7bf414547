"""PostgreSQL out of Debian's packages on a named volume, killed with everything of its container while it writes: what was acknowledged
is there when it is started again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engine import Wherry
from support.place import SOAK

PACKAGES = "postgresql-15 postgresql-client-15 libpq5 libldap-2.5-0 libicu72 libxml2 libsasl2-2".split()
BIN = "/pg/usr/lib/postgresql/15/bin/"
LIBRARIES = "LD_LIBRARY_PATH=/pg/usr/lib/x86_64-linux-gnu"


@pytest.fixture
def postgres(w_root: Wherry) -> Iterator[list[str]]:
    """The options of a container that has the host's /usr and PostgreSQL's files; its image is `debian-like`."""
    if not SOAK or not shutil.which("apt-get"):
        pytest.skip("runs for a minute, and downloads: only with WHERRY_SOAK set, on Debian 12")
    w = w_root
    folder = w.folder("pg")
    done = subprocess.run(["apt-get", "download", *PACKAGES], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"the packages can't be had: {done.stderr.strip()[-200:]}")
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder / "pg"], check=True)
    root = folder / "root"
    for name in ("etc", "tmp", "dev", "proc", "sys", "run", "var", "home", "usr", "pg"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\npostgres:x:999:999::/home:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\npostgres:x:999:\n")
    subprocess.run(["tar", "-C", root, "-cf", folder / "root.tar", "."], check=True)
    w.ok("import", "-c", 'CMD ["sh"]', folder / "root.tar", "debian-like")
    yield ["-v", "/usr:/usr:ro", "-v", f"{folder}/pg:/pg:ro", "-e", LIBRARIES, "-e", "LC_ALL=C", "--network", "none"]
    w("rm", "-f", *w.ids())
    w.ok("rmi", "-f", "debian-like")


def psql(w: Wherry, name: str, sql: str) -> subprocess.CompletedProcess[str]:
    return w("exec", "-u", "postgres", "-e", LIBRARIES, name, BIN + "psql", "-h", "/tmp", "-d", "postgres", "-qAtc", sql)


def test_postgresql_survives_the_death_of_everything(w_root: Wherry, postgres: list[str]) -> None:
    w = w_root
    w.ok("run", "--rm", *postgres, "-v", "pgdata:/data", "debian-like", "sh", "-c", "mkdir /data/db && chown 999:999 /data/db")
    initdb = [BIN + "initdb", "-D", "/data/db", "-L", "/pg/usr/share/postgresql/15"]
    w.ok("run", "--rm", *postgres, "-u", "postgres", "-v", "pgdata:/data", "debian-like", *initdb, timeout=120)
    acknowledged = 0
    for number in range(5):
        name = f"pg{number}"
        server = [BIN + "postgres", "-D", "/data/db", "-k", "/tmp", "-c", "listen_addresses="]
        w.ok("run", "-d", "--name", name, *postgres, "-u", "postgres", "-v", "pgdata:/data", "debian-like", *server)
        w.until(lambda name=name: psql(w, name, "create table if not exists t(id int primary key, s text)").returncode == 0, 60)
        count, last = psql(w, name, "select count(*), coalesce(max(id), 0) from t").stdout.strip().split("|")
        assert int(count) == int(last) >= acknowledged
        assert psql(w, name, "reindex table t; select sum(length(s)) from t").returncode == 0
        insert = f"{BIN}psql -h /tmp -d postgres -qAtc \"insert into t values ($i, repeat('x', 2000))\""
        loop = w.popen(
            "exec",
            "-u",
            "postgres",
            "-e",
            LIBRARIES,
            name,
            "sh",
            "-c",
            f"i={last}; while i=$((i+1)); do {insert} && echo $i; done",
            text=True,
        )
        time.sleep(4 + number / 3)
        found = json.loads(w.ok("inspect", name))[0]
        for pid in (found["Wherry"]["MonitorPid"], found["State"]["Pid"]):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it went with the other
        ids = loop.communicate(timeout=60)[0].split()
        assert ids, "nothing was written"
        acknowledged = int(ids[-1])
    assert w.check() == "" and Path(w.root / "volumes/pgdata/_data/db/PG_VERSION").exists()

"""Secrets: where a container sees them, and that nothing else tells them."""

from __future__ import annotations

import json
import stat

import pytest

from support.engine import Wherry

WORD = "hunter2-and-more"


@pytest.fixture
def secret(w: Wherry) -> str:
    w.ok("secret", "create", "pw", w.file("pw", WORD))
    return "pw"


def shell(w: Wherry, *words: str, script: str) -> str:
    return w.ok("run", "--rm", *words, "busybox", "sh", "-c", script)


@pytest.fixture(autouse=True)
def none_left(w: Wherry) -> object:
    yield
    w.forget_all()
    w.ok("secret", "rm", "-a")
    assert not any((w.root / "secrets").iterdir())


def test_life_cycle(w: Wherry, secret: str) -> None:
    done = w("secret", "create", "pw", "-", input="other")
    assert done.returncode == 1 and "secret name in use: pw" in done.stderr
    assert len(w.ok("secret", "create", "--replace", "pw", "-", input="other")) == 25
    assert len(w.ok("secret", "create", "--env", "from-env", "TOKEN", env={"TOKEN": "t"})) == 25
    assert w("secret", "create", "--env", "x", "NOT_SET").returncode == 1
    assert w("secret", "create", "empty", "-", input="").returncode == 1
    assert w("secret", "create", "a/b", "-", input="x").returncode == 1
    assert w.ok("secret", "ls", "--format", "{{.Name}}").split() == ["from-env", "pw"]
    found = json.loads(w.ok("secret", "inspect", "pw"))[0]
    assert found["Spec"]["Name"] == "pw" and "other" not in json.dumps(found)
    assert w("secret", "exists", "pw").returncode == 0 and w("secret", "exists", "nope").returncode == 1
    ident = w.ok("secret", "ls", "-q", "-f", "name=from-env")
    assert w.ok("secret", "rm", "from-env") == ident
    assert w("secret", "rm", "from-env").returncode == 1
    assert [stat.S_IMODE(p.stat().st_mode) for p in (w.root / "secrets").iterdir()] == [0o600]
    assert w.check() == ""


def test_in_a_container(w: Wherry, secret: str) -> None:
    look = (
        "cd /run/secrets; cat pw; stat -c '%a %u' pw; grep /run/secrets/pw /proc/mounts | cut -d' ' -f3; touch pw 2>&1 | grep -c Read-only"
    )
    assert shell(w, "--secret", "pw", script=look) == f"{WORD}444 0\ntmpfs\n1"
    assert shell(w, "--secret", "pw,type=env,target=PASSWORD", script="echo $PASSWORD") == WORD
    assert shell(w, "--secret", "source=pw,target=/etc/db/pw,mode=0400", script="cat /etc/db/pw; stat -c %a /etc/db/pw") == f"{WORD}400"
    if not w.single_id:
        assert shell(w, "-u", "1000", "--secret", "pw,uid=1000,mode=0400", script="cat /run/secrets/pw") == WORD
    for words in ("nope", "pw,type=frob", "pw,mode=9", "pw,frob=1", "type=env"):
        done = w("run", "--rm", "--secret", words, "busybox", "true")
        assert done.returncode == 125, words


def test_it_is_told_nowhere(w: Wherry, secret: str) -> None:
    ident = w.ok("run", "-d", "--secret", "pw", "--secret", "pw,type=env,target=PW", "busybox", "sleep", "100")
    w.ok("secret", "rm", "pw")
    assert WORD not in w.ok("inspect", ident) + w.ok("logs", ident) + w.ok("ps", "--no-trunc")
    assert json.loads(w.ok("inspect", ident))[0]["Wherry"]["Secrets"][0]["Name"] == "pw"
    for path in (w.root / "containers" / ident / "over").rglob("*"):
        assert not path.is_file() or WORD not in path.read_text(errors="replace")
    assert WORD.encode() not in (w.root / "wherry.db").read_bytes() + (w.root / "wherry.db-wal").read_bytes()
    w.ok("restart", "-t", "0", ident)
    assert w.ok("exec", ident, "cat", "/run/secrets/pw") == WORD, "a container keeps what it was created with"
    done = w("--debug", "run", "--rm", "busybox", "true")
    assert WORD not in done.stderr

"""podman's ways of naming containers, and of listing them."""

from __future__ import annotations

from support.engine import Wherry


def names(w: Wherry, *flags: str) -> list[str]:
    return w.ok("ps", "--format", "{{.Names}}", *flags).split()


def test_all_filter_cidfile_latest_ignore(w_root: Wherry) -> None:
    w = w_root
    cidfile = w.base / "cid"
    cidfile.unlink(missing_ok=True)
    for name in ("one", "two"):
        w.ok("run", "-d", "--name", name, "-l", f"is={name}", "busybox", "sleep", "100")
    w.ok("run", "-d", "--name", "three", "--cidfile", cidfile, "busybox", "sleep", "100")
    w.ok("create", "--name", "four", "busybox", "sleep", "100")
    w.ok("kill", "--cidfile", cidfile)
    cidfile.unlink()
    assert sorted(names(w)) == ["one", "two"]
    w.ok("stop", "-t", "0", "--filter", "label=is=one")
    assert names(w) == ["two"]
    w.ok("start", "--latest")
    assert sorted(names(w)) == ["four", "two"]
    w.ok("start", "--all")
    assert len(names(w)) == 4
    w.ok("pause", "--latest")
    w.ok("unpause", "--all")
    assert len(w.ok("kill", "--all").split()) == 4
    assert w.ok("rm", "--ignore", "nobody") == ""
    assert w("rm", "nobody").returncode == 1
    assert w.ok("wait", "--ignore", "nobody") == "-1"
    w.ok("rm", "--filter", "name=^f")
    w.ok("rm", "--all")
    assert w.ids() == []
    assert w.ok("rm", "--all") == w.ok("stop", "--all") == ""


def test_what_makes_no_sense(w_user: Wherry) -> None:
    w = w_user
    for words in (["rm"], ["stop"], ["rm", "--all", "x"], ["rm", "--time", "1", "x"], ["stop", "--cidfile", "/nothing"]):
        done = w(*words)
        assert done.returncode == 1 and done.stderr.strip(), words
    assert "bad format of filter" in w("rm", "--filter", "x").stderr


def test_time_to_stop_before_a_removal(w_root: Wherry) -> None:
    w = w_root
    folder = w.folder("out")
    script = "trap 'echo ended > /out/word; exit' TERM; while :; do sleep 0.05; done"
    w.ok("run", "-d", "--name", "polite", "-v", f"{folder}:/out", "busybox", "sh", "-c", script)
    w.until(lambda: w("exec", "polite", "true").returncode == 0)
    w.ok("rm", "-f", "-t", "10", "polite")
    assert (folder / "word").read_text() == "ended\n"


def test_order_and_headers_of_a_list(w_user: Wherry) -> None:
    w = w_user
    for name in ("bb", "aa", "cc"):
        w.ok("create", "--name", name, "busybox", name)
    assert names(w, "-a", "--sort", "names") == ["aa", "bb", "cc"]
    assert names(w, "-a", "--sort", "created") == ["bb", "aa", "cc"]
    assert names(w, "-a", "--sort", "command") == ["aa", "bb", "cc"]
    assert len(w.ok("ps", "-a", "--noheading").splitlines()) == 3
    assert w.ok("ps", "-a", "--noheading", "--format", "table {{.Names}}").split() == ["cc", "aa", "bb"]
    assert w("ps", "--sort", "colour").returncode == 125

"""The whole surface: every command's help, refusals that name a way out, and never a traceback."""

from __future__ import annotations

import json

import pytest

from support.engine import Wherry

COMMANDS = "run create start stop kill restart rm ps inspect logs attach exec wait rename import load images rmi tag untag history info version".split()
GROUPED = [f"container {c}" for c in "run create start stop kill restart rm ls inspect logs attach exec wait rename prune".split()]
GROUPED += [f"image {c}" for c in "import load ls rm tag untag history inspect exists prune".split()]
GROUPED += [f"system {c}" for c in "df prune info check".split()]
LATER = ["plugin ls", "kube play x", "swarm init", "pod ps"]


@pytest.mark.parametrize("verb", [*COMMANDS, *GROUPED, "container", "image", "system", ""])
def test_help(w_user: Wherry, verb: str) -> None:
    done = w_user(*verb.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("verb", [*COMMANDS, *GROUPED])
def test_unknown_flags_and_missing_words_give_a_usage_error(w_user: Wherry, verb: str) -> None:
    for words in (["--frobnicate"], ["-~"], ["--rm=maybe"] if verb == "run" else ["--frobnicate=1"]):
        done = w_user(*verb.split(), *words)
        assert done.returncode in (1, 125), (words, done)
        assert "Traceback" not in done.stderr and done.stderr.strip()


@pytest.mark.parametrize("words", LATER)
def test_what_is_to_come_is_refused_by_name(w_user: Wherry, words: str) -> None:
    done = w_user(*words.split())
    assert done.returncode != 0
    assert words.split()[0] in done.stderr and "not supported yet" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("flag", ["--cgroup-parent x", "--pod p"])
def test_flags_to_come_are_refused_by_name(w_user: Wherry, flag: str) -> None:
    done = w_user("run", "--rm", *flag.split(), "busybox", "true")
    assert done.returncode == 125
    assert flag.split()[0].lstrip("-") in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_command(w_user: Wherry) -> None:
    done = w_user("frobnicate")
    assert done.returncode == 1
    assert "unknown command: wherry frobnicate" in done.stderr


def test_version_and_info(w: Wherry) -> None:
    assert "0.1" in w.ok("version") and "0.1" in w.ok("--version")
    json.loads(w.ok("version", "--format", "json"))
    found = json.loads(w.ok("info", "--format", "{{json .}}"))
    assert found["Images"] >= 1
    assert "Containers:" in w.ok("info")


def test_disk_use(w: Wherry) -> None:
    lines = w.ok("system", "df").splitlines()
    assert lines[0].split()[:2] == ["TYPE", "TOTAL"]
    assert any(line.startswith("Images") for line in lines)
    w.ok("system", "df", "-v")


def test_check_finds_nothing(w: Wherry) -> None:
    w.ok("run", "-d", "busybox", "sleep", "100")
    w.ok("create", "busybox")
    assert w.check() == ""
    assert w("system", "check", "--repair").returncode == 0


def test_prune(w: Wherry) -> None:
    w.ok("create", "busybox")
    out = w.ok("system", "prune", "-f")
    assert "Deleted Containers:" in out and "Total reclaimed space:" in out
    assert w.ok("images", "-q")


def test_debug_prints_the_plan_one_operation_a_line(w: Wherry) -> None:
    done = w("--debug", "run", "--rm", "busybox", "true")
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) > 20


def test_notice_about_the_network_is_given_once(w: Wherry, reachable: object) -> None:
    w("run", "--rm", "busybox", "true")
    assert w("run", "--rm", "busybox", "true").stderr == ""

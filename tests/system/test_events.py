"""Events: what commands and monitors write, and how it is read."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from support import groups
from support.engine import Wherry


def told(w: Wherry, *words: str, since: str = "0") -> list[dict[str, Any]]:
    return [json.loads(line) for line in w.ok("events", "--since", since, "--until", "0s", "--format", "json", *words).splitlines()]


def actions(w: Wherry, name: str) -> list[str]:
    return [e["Action"].partition(":")[0] for e in told(w, "-f", f"container={name}")]


def test_a_life_in_docker_s_order(w: Wherry) -> None:
    w.ok("run", "--name", "life", "-l", "color=red", "busybox", "true")
    w.ok("rm", "life")
    assert actions(w, "life") == ["create", "attach", "start", "die", "destroy"]
    (die,) = told(w, "-f", "container=life", "-f", "event=die")
    assert (die["status"], die["from"], die["Type"], die["scope"]) == ("die", "busybox", "container", "local")
    attributes = die["Actor"]["Attributes"]
    assert {k: attributes[k] for k in ("image", "name", "color", "exitCode")} == {
        "image": "busybox",
        "name": "life",
        "color": "red",
        "exitCode": "0",
    }
    assert die["id"] == die["Actor"]["ID"] and abs(die["timeNano"] / 1e9 - time.time()) < 60


def test_what_is_done_to_it(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "done1", "busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done")
    w.ok("exec", "done1", "sh", "-c", "exit 0")
    w.ok("exec", "-d", "done1", "true")
    w.until(lambda: actions(w, "done1").count("exec_die") == 2)
    w.ok("rename", "done1", "done2")
    w.ok("update", "--restart", "no", "done2")
    w.ok("stop", "done2")
    w.ok("start", "done2")
    w.ok("kill", "done2")
    ident = w.ok("inspect", "-f", "{{.Id}}", "done2")
    w.ok("rm", "done2")
    found = [a for a in actions(w, ident) if not a.startswith("exec")]
    assert found == ["create", "start", "rename", "update", "kill", "die", "stop", "start", "kill", "die", "destroy"]
    # The monitor learns of the new name.
    assert told(w, "-f", f"container={ident}", "-f", "event=die")[-1]["Actor"]["Attributes"]["name"] == "done2"


def test_restarts_by_the_policy_are_told_while_no_command_runs(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "again", "--restart", "on-failure:1", "busybox", "sh", "-c", "exit 3")
    w.until_state("again", "exited")
    assert actions(w, "again") == ["create", "start", "die", "start", "die"]


def test_out_of_memory_is_told_before_the_end(w_root: Wherry) -> None:
    w = w_root
    hog = "x=aaaaaaaa; while :; do x=$x$x; done"
    w("run", "--name", "hog", "-m", "24m", "--memory-swap", "24m", "busybox", "sh", "-c", hog)
    assert actions(w, "hog")[-2:] == ["oom", "die"]
    # One that is not the first process: the container goes on, and the event comes at once.
    w.ok("run", "-d", "--name", "goes-on", "-m", "24m", "--memory-swap", "24m", "busybox", "sh", "-c", f"(sh -c '{hog}'); sleep 100")
    w.until(lambda: actions(w, "goes-on")[-1] == "oom")
    assert w.state("goes-on") == "running"
    folder = groups.of(w, "goes-on", "memory")
    assert folder is not None


def test_a_killed_monitor_is_told_by_the_next_command(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "lost", "busybox", "sleep", "1000")
    w.host("kill", "-9", w.ok("inspect", "-f", "{{.Wherry.MonitorPid}}", "lost"))
    w.until(lambda: w.state("lost") == "exited")
    w.ok("ps")
    assert actions(w, "lost")[-1] == "die"


def test_images_are_told(w: Wherry) -> None:
    w.ok("tag", "busybox", "told:1")
    w.ok("rmi", "told:1")
    found = [(e["Action"], e["Actor"]["Attributes"]["name"]) for e in told(w, "-f", "type=image")]
    assert found[-2:] == [("tag", "told:1"), ("untag", "told:1")]


def test_filters_and_forms(w_user: Wherry) -> None:
    w = w_user
    w.ok("run", "--rm", "--name", "fa", "-l", "who=me", "busybox", "true")
    w.ok("run", "--rm", "--name", "fb", "busybox", "true")
    assert {e["Actor"]["Attributes"]["name"] for e in told(w, "-f", "label=who=me")} == {"fa"}
    assert {e["Action"] for e in told(w, "-f", "event=start", "-f", "event=die")} == {"start", "die"}
    assert told(w, "-f", "image=nosuch") == []
    line = w.ok("events", "--since", "0", "--until", "0s", "-f", "container=fb", "-f", "event=start")
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|[+-]\d\d:\d\d)"
    assert re.fullmatch(stamp + r" container start [0-9a-f]{64} \(image=busybox, name=fb\)", line.splitlines()[-1]), line
    template = "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}"
    words = ["events", "--since", "0", "--until", "0s", "-f", "container=fb", "-f", "event=start"]
    assert w.ok(*words, "--format", template).splitlines()[-1] == "container start fb"
    done = w("events", "-f", "bogus=1", "--until", "0s")
    assert done.returncode == 1 and "invalid filter 'bogus'" in done.stderr, done


def test_following_sees_what_happens_and_survives_a_rotation(w_user: Wherry) -> None:
    w = w_user
    with w.popen("events", "-f", "event=create", "--format", "{{.Actor.Attributes.name}}") as process:
        assert process.stdout is not None
        time.sleep(0.4)
        w.ok("create", "--name", "before", "busybox")
        assert process.stdout.readline().strip() == b"before"
        log = w.root / "events.log"
        with log.open("ab") as file:
            file.write(b"no JSON at all\n" + (b'{"padding":"' + b"x" * 1000 + b'"}\n') * 1100)
        w.ok("create", "--name", "after", "busybox")
        assert process.stdout.readline().strip() == b"after"
        process.terminate()
    assert (w.root / "events.log.1").stat().st_size > 1 << 20 and log.stat().st_size < 1 << 20
    assert {"before", "after"} <= {e["Actor"]["Attributes"].get("name") for e in told(w, "-f", "event=create")}

"""ps and inspect, as scripts read them."""

from __future__ import annotations

import json
import re

import pytest

from support.engine import Wherry


def names(w: Wherry, *options: str) -> list[str]:
    return sorted(w.ok("ps", "--format", "{{.Names}}", *options).split())


def test_table(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "one", "busybox", "sleep", "1000")
    lines = w.ok("ps").splitlines()
    assert re.fullmatch(r"CONTAINER ID +IMAGE +COMMAND +CREATED +STATUS +PORTS +NAMES", lines[0])
    ident = w.ok("ps", "-q")
    assert re.fullmatch(rf'{ident} +busybox +"sleep 1000" +(Less than a second|1 second|\d seconds) ago +Up .*one', lines[1])
    assert len(ident) == 12 and len(w.ok("ps", "-q", "--no-trunc")) == 64


def test_empty_table_is_its_head(w: Wherry) -> None:
    assert w.ok("ps").splitlines() == ["CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES"]
    assert w.ok("ps", "-q") == ""


def test_which_are_shown(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "live", "busybox", "sleep", "1000")
    w("run", "--name", "dead", "busybox", "sh", "-c", "exit 3")
    w.ok("create", "--name", "made", "-l", "colour=red", "busybox", "true")
    assert names(w) == ["live"]
    assert names(w, "-a") == ["dead", "live", "made"]
    assert names(w, "-l") == ["made"]
    assert names(w, "-n", "2") == ["dead", "made"]
    assert w.ok("ps", "-a", "--format", "{{.Names}} {{.State}}").splitlines() == ["made created", "dead exited", "live running"]
    status = dict(line.split(" ", 1) for line in w.ok("ps", "-a", "--format", "{{.Names}} {{.Status}}").splitlines())
    assert status["live"].startswith("Up ") and status["made"] == "Created"
    assert re.fullmatch(r"Exited \(3\) .* ago", status["dead"])


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["name=liv"], ["live"]),
        (["name=^/live$"], ["live"]),
        (["name=e$"], ["live", "made"]),
        (["status=exited"], ["dead"]),
        (["status=exited", "status=running"], ["dead", "live"]),
        (["exited=3"], ["dead"]),
        (["label=colour"], ["made"]),
        (["label=colour=red"], ["made"]),
        (["label=colour=blue"], []),
        (["ancestor=busybox"], ["dead", "live", "made"]),
        (["status=running", "name=dead"], []),
        (["since=live"], ["dead", "made"]),
        (["before=dead"], ["live"]),
    ],
)
def test_filters(w: Wherry, filters: list[str], expected: list[str]) -> None:
    w.ok("run", "-d", "--name", "live", "busybox", "sleep", "1000")
    w("run", "--name", "dead", "busybox", "sh", "-c", "exit 3")
    w.ok("create", "--name", "made", "-l", "colour=red", "busybox", "true")
    assert names(w, "-a", *(word for f in filters for word in ("-f", f))) == expected


def test_unknown_filter(w: Wherry) -> None:
    done = w("ps", "-f", "frobnicate=1")
    assert done.returncode == 1 and "invalid filter 'frobnicate'" in done.stderr


def test_formats(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "-l", "a=b", "busybox", "sh", "-c", "sleep 1000; echo a long command line")
    assert w.ok("ps", "--format", "table {{.Names}}\t{{.Image}}").splitlines() == ["NAMES     IMAGE", "cx        busybox"]
    row = json.loads(w.ok("ps", "--format", "json"))
    assert row["Names"] == "cx" and row["State"] == "running" and row["Labels"] == "a=b"
    again = json.loads(w.ok("ps", "--format", "{{json .}}"))
    assert again | {"RunningFor": row["RunningFor"], "Status": row["Status"]} == row  # a second may have gone by
    assert w.ok("ps", "--format", "{{.Command}}") == '"sh -c \'sleep 1000; …"'
    assert w.ok("ps", "--format", '{{upper .Names}}-{{.Label "a"}}') == "CX-b"
    done = w("ps", "--format", "{{.NoSuchField}}")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    done = w("ps", "--format", "{{.Names")
    assert done.returncode == 1 and "Traceback" not in done.stderr


def test_size(w: Wherry) -> None:
    w.ok("run", "--name", "cx", "busybox", "sh", "-c", "head -c 100000 /dev/zero > /big")
    assert re.search(r"100kB \(virtual \d+(\.\d+)?MB\)", w.ok("ps", "-a", "-s"))


KEYS = (
    "Id Created Path Args State Image ResolvConfPath HostnamePath HostsPath LogPath Name RestartCount Driver Platform MountLabel ProcessLabel "
    "AppArmorProfile ExecIDs HostConfig GraphDriver Mounts Config NetworkSettings"
).split()


def test_inspect_has_docker_s_keys(w: Wherry) -> None:
    ident = w.ok("run", "-d", "--name", "cx", "-e", "A=1", "-w", "/tmp", "busybox", "sleep", "1000")
    text = w.ok("inspect", "cx")
    (found,) = json.loads(text)
    assert [k for k in KEYS if k not in found] == []
    assert text.startswith('[\n    {\n        "Id": "')
    assert found["Id"] == ident and found["Name"] == "/cx"
    assert (found["Path"], found["Args"]) == ("sleep", ["1000"])
    assert found["State"]["Status"] == "running" and found["State"]["Running"] is True and found["State"]["Pid"] > 0
    assert set(found["State"]) >= set("Status Running Paused Restarting OOMKilled Dead Pid ExitCode Error StartedAt FinishedAt".split())
    assert found["Config"]["Image"] == "busybox" and "A=1" in found["Config"]["Env"] and found["Config"]["WorkingDir"] == "/tmp"
    assert found["Image"].startswith("sha256:") and found["Config"]["Hostname"] == ident[:12]
    assert found["HostConfig"]["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert found["HostConfig"]["ShmSize"] == 64 << 20
    assert set(found["NetworkSettings"]) >= {"Networks", "Ports", "IPAddress", "Gateway", "MacAddress"}


def test_inspect_of_nothing(w: Wherry) -> None:
    done = w("inspect", "nobody")
    assert (done.returncode, done.stdout) == (1, "[]\n")
    assert "no such object: nobody" in done.stderr.lower()


def test_inspect_of_several_and_of_images(w: Wherry) -> None:
    w.ok("create", "--name", "cx", "busybox")
    found = json.loads(w.ok("inspect", "cx", "busybox"))
    assert [("RepoTags" in f) for f in found] == [False, True]
    assert w("inspect", "--type", "image", "cx").returncode == 1
    assert w.ok("inspect", "--type", "container", "-f", "{{.Name}}", "cx") == "/cx"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{.Name}}", "/cx"),
        ("{{json .Config.Cmd}}", '["sleep","1000"]'),
        ('{{index .Config.Labels "a"}}', "b"),
        ("{{range .Config.Cmd}}[{{.}}]{{end}}", "[sleep][1000]"),
        ("{{if .State.Running}}yes{{else}}no{{end}}", "no"),
        ("{{len .Config.Cmd}}", "2"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}}{{end}}", "a=b"),
        ('{{printf "%s!" .Name}}', "/cx!"),
        ("{{.State.ExitCode}} {{.HostConfig.Privileged}}", "0 false"),
        ('{{join .Config.Cmd "-"}}', "sleep-1000"),
        ("{{.Config.Labels}}", "map[a:b]"),
        ("{{.Config.Cmd}}", "[sleep 1000]"),
    ],
)
def test_templates(w_user: Wherry, template: str, expected: str) -> None:
    w_user.ok("create", "--name", "cx", "-l", "a=b", "busybox", "sleep", "1000")
    assert w_user.ok("inspect", "-f", template, "cx") == expected

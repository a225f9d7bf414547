"""Volumes: docker's life cycle, every way of mounting one, and what becomes of the anonymous ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from support import leaks
from support.engine import Wherry


def shell(w: Wherry, *words: str | Path, script: str) -> str:
    return w.ok("run", "--rm", *words, "busybox", "sh", "-c", script)


def names(w: Wherry) -> list[str]:
    return w.ok("volume", "ls", "-q").split()


def data(w: Wherry, name: str) -> Path:
    return w.root / "volumes" / name / "_data"


def test_life_cycle(w: Wherry) -> None:
    assert w.ok("volume", "create", "manu") == "manu"
    assert w.ok("volume", "create", "manu") == "manu"
    ident = w.ok("run", "-d", "--name", "web", "--mount", "source=manu,target=/app", "busybox", "sleep", "100")
    done = w("volume", "rm", "manu")
    assert done.returncode == 1
    assert done.stderr.strip() == f"Error response from daemon: remove manu: volume is in use - [{ident}]"
    w.ok("stop", "-t", "0", "web")
    assert w("volume", "rm", "manu").returncode == 1, "a stopped container still refers to it"
    w.ok("rm", "web")
    assert w.ok("volume", "rm", "manu") == "manu"
    done = w("volume", "rm", "manu")
    assert done.returncode == 1 and done.stderr.strip() == "Error response from daemon: get manu: no such volume"
    assert w.ok("volume", "rm", "-f", "manu") == "manu"
    assert w("volume", "exists", "manu").returncode == 1
    assert w.check() == ""


def test_data_outlives_containers(w: Wherry) -> None:
    shell(w, "-v", "keep:/data", script="echo precious > /data/x")
    assert shell(w, "--mount", "src=keep,dst=/other,ro", script="cat /other/x") == "precious"
    done = w("run", "--rm", "-v", "keep:/data:ro", "busybox", "touch", "/data/y")
    assert done.returncode == 1 and "Read-only file system" in done.stderr


def test_names_that_are_none(w_user: Wherry) -> None:
    w = w_user
    for name in ("x", "-x", "../x", "a/b", "a b", ".hidden", "ü1", "x" * 201):
        done = w("volume", "create", "--", name)
        assert done.returncode == 1 and "volume name" in done.stderr
    assert names(w) == []


def test_list_and_inspect(w_user: Wherry) -> None:
    w = w_user
    w.ok("volume", "create", "--label", "a=1", "one")
    w.ok("volume", "create", "two")
    shell(w, "-v", "two:/d", script="dd if=/dev/zero of=/d/x bs=1024 count=100 2>/dev/null")
    w.ok("create", "--name", "user", "-v", "two:/d", "busybox")
    assert w.ok("volume", "ls").splitlines()[0].split() == ["DRIVER", "VOLUME", "NAME"]
    assert names(w) == ["one", "two"]
    assert w.ok("volume", "ls", "-q", "-f", "dangling=true") == "one"
    assert w.ok("volume", "ls", "-q", "-f", "label=a=1") == "one"
    assert w.ok("volume", "ls", "-q", "-f", "name=^tw") == "two"
    assert w("volume", "ls", "-f", "nosuch=1").returncode == 1
    line = w.ok("volume", "ls", "-s", "-f", "name=two").splitlines()[1].split()
    assert line[2].startswith("10") and line[2].endswith("kB") and line[-1] == "1"
    found = json.loads(w.ok("volume", "inspect", "two"))[0]
    assert (found["Name"], found["Driver"], found["Scope"], found["Labels"], found["Options"]) == ("two", "local", "local", None, None)
    assert found["Mountpoint"] == str(data(w, "two")) and len(found["Wherry"]["Containers"]) == 1
    assert w.ok("volume", "inspect", "-f", "{{.Labels.a}}", "one") == "1"
    assert w.ok("inspect", "-f", "{{.Driver}}", "one") == "local"
    text = "{{range .Mounts}}{{.Type}} {{.Name}} {{.Source}} {{.Destination}} {{.Driver}} {{.RW}}{{end}}"
    assert w.ok("inspect", "-f", text, "user") == f"volume two {data(w, 'two')} /d local true"
    assert w.ok("ps", "-aq", "-f", "volume=two") == w.ok("ps", "-aq", "-f", "volume=/d") == w.ok("ps", "-aq")
    assert w.ok("ps", "-a", "--format", "{{.Mounts}} {{.LocalVolumes}}") == "two 1"
    assert w("volume", "inspect", "nope").returncode == 1


def test_anonymous_volumes_go_with_rm_and_with_rm_v(w: Wherry) -> None:
    shell(w, "-v", "/scratch", script="echo x > /scratch/x")
    assert names(w) == []
    for words, left in ((["rm"], 1), (["rm", "-v"], 0), (["rm", "-f", "-v"], 0)):
        w.ok("run", "--name", "cc", "-v", "/scratch", "-v", "named:/n", "busybox", "touch", "/scratch/x")
        assert len(names(w)) == 2
        w.ok(*words, "cc")
        assert len(names(w)) == 1 + left, words
        w.ok("volume", "prune", "-f")
        assert names(w) == ["named"], "prune takes the anonymous ones only"
    assert w.ok("volume", "prune", "-af").splitlines()[:2] == ["Deleted Volumes:", "named"]
    assert names(w) == [] and w.check() == ""


def test_volumes_of_an_image(w: Wherry) -> None:
    context = w.folder("image")
    (context / "Dockerfile").write_text("FROM busybox\nRUN mkdir /data && echo seed > /data/seed && chmod 750 /data\nVOLUME /data\n")
    w.ok("build", "-q", "-t", "withvolume", str(context), timeout=120)
    try:
        ident = w.ok("run", "-d", "withvolume", "sh", "-c", "cat /data/seed; echo mine > /data/mine; sleep 100")
        w.until(lambda: w.ok("logs", ident) == "seed")
        assert len(names(w)) == 1
        name = names(w)[0]
        assert len(name) == 64 and w.ok("volume", "inspect", "-f", "{{json .Labels}}", name) == '{"com.docker.volume.anonymous":""}'
        assert w.ok("run", "--rm", "--volumes-from", ident, "busybox", "cat", "/data/mine") == "mine"
        assert names(w) == [name], "the volume of the other container stays"
        w.ok("rm", "-fv", ident)
        assert names(w) == []
        assert w.ok("run", "--rm", "--tmpfs", "/data", "withvolume", "ls", "/data") == ""
        assert names(w) == []
        assert w.ok("run", "--rm", "-v", "mine:/data", "withvolume", "stat", "-c", "%a", "/data") == "750"
        assert names(w) == ["mine"]
    finally:
        w("rm", "-fv", *w.ids())
        w.ok("rmi", "-f", "withvolume")
        w("builder", "prune", "-af")


def test_copy_up(w: Wherry) -> None:
    """An empty volume gets what the image has at the target; one with something in it, or with nocopy, does not."""
    expected = shell(w, script="cd /etc && find . | sort")
    assert shell(w, "-v", "fresh:/etc", script="cd /etc && find . | sort | grep -v -e resolv.conf -e hosts -e hostname") == "\n".join(
        line for line in expected.splitlines() if line.split("/")[-1] not in ("resolv.conf", "hosts", "hostname")
    )
    assert shell(w, "-v", "bare:/etc:nocopy", script="ls /etc | grep -c passwd || true") == "0"
    shell(w, "-v", "full:/d", script="touch /d/x")
    assert shell(w, "-v", "full:/etc", script="ls /etc/passwd /etc/x 2>&1; true").count("No such file") == 1
    w.ok("volume", "create", "made")
    assert shell(w, "-v", "made:/etc", script="ls /etc/passwd") == "/etc/passwd"
    shell(w, "-v", "fresh:/etc", script="echo changed > /etc/passwd")
    assert shell(w, "-v", "fresh:/etc", script="cat /etc/passwd") == "changed"


def test_copy_up_keeps_owners_and_modes(w: Wherry) -> None:
    if w.single_id:
        pytest.skip("nosubids: one id is all there is")
    script = "mkdir -p /srv/x && cd /srv/x && echo 1 > f && ln f g && ln -s f l && mkfifo p && chown -R 1000:1000 . && chmod 4751 f && chmod 1770 ."
    w.ok("run", "--name", "make", "busybox", "sh", "-c", script)
    look = "cd /srv/x && stat -c '%n %u %g %a %F %h' . f g l p"
    w.ok("rm", "make")
    context = w.folder("owners")
    (context / "Dockerfile").write_text(f"FROM busybox\nRUN {script}\n")
    w.ok("build", "-q", "-t", "owners", str(context), timeout=120)
    try:
        plain = w.ok("run", "--rm", "owners", "sh", "-c", look)
        assert w.ok("run", "--rm", "-v", "o1:/srv/x", "owners", "sh", "-c", look) == plain
        assert "1000" in plain
    finally:
        w.ok("rmi", "-f", "owners")
        w("builder", "prune", "-af")


def test_two_containers_see_their_own_ids(w: Wherry) -> None:
    """Root's containers have different ranges; on disk the files are those of the host's ids, as docker keeps them."""
    w.ok("run", "-d", "--name", "aa", "-v", "both:/d", "busybox", "sh", "-c", "echo x > /d/x; sleep 100")
    w.until(lambda: "x" in w.ok("exec", "aa", "ls", "/d"))
    assert shell(w, "-v", "both:/d", script="stat -c '%u %g' /d/x; echo y >> /d/x; cat /d/x") == "0 0\nx\ny"
    assert os.stat(data(w, "both") / "x").st_uid == w.user.uid
    if not w.single_id:
        w.ok("exec", "aa", "chown", "7:8", "/d/x")
        assert shell(w, "-v", "both:/d", script="stat -c '%u %g' /d/x") == "7 8"


def test_subpath(w: Wherry) -> None:
    shell(w, "-v", "sub:/d", script="mkdir -p /d/a/b && echo deep > /d/a/b/x && ln -s /a /d/link && ln -s ../../../../etc /d/out")
    assert shell(w, "--mount", "src=sub,dst=/m,volume-subpath=a/b", script="cat /m/x") == "deep"
    assert shell(w, "--mount", "src=sub,dst=/m,volume-subpath=link/b", script="cat /m/x") == "deep"
    assert shell(w, "--mount", "src=sub,dst=/m/f,volume-subpath=a/b/x", script="cat /m/f") == "deep"
    for path, text in (
        ("nowhere", "cannot access path"),
        ("out", "cannot access path"),
        ("../x", "invalid subpath"),
        ("/a", "invalid subpath"),
    ):
        done = w("run", "--rm", "--mount", f"src=sub,dst=/m,volume-subpath={path}", "busybox", "true")
        assert done.returncode == 125 and text in done.stderr, path


def test_image_mount(w: Wherry) -> None:
    assert shell(w, "--mount", "type=image,src=busybox,dst=/i", script="test -x /i/bin/sh && echo fine") == "fine"
    assert shell(
        w, "--mount", "type=image,src=busybox,dst=/i,image-subpath=etc", script="ls /i/passwd; touch /i/x 2>&1 | grep -c Read-only"
    )
    done = w("run", "--rm", "--mount", "type=image,src=nosuch:1,dst=/i", "busybox", "true")
    assert done.returncode == 125 and "nosuch" in done.stderr


def test_volumes_from(w: Wherry) -> None:
    folder = w.folder("vf")
    w.ok("create", "--name", "src", "-v", "vv:/v", "-v", f"{folder}:/b", "--tmpfs", "/t", "busybox")
    assert shell(w, "--volumes-from", "src", script="echo 1 > /v/x; echo 2 > /b/x; test ! -e /t && cat /v/x /b/x") == "1\n2"
    done = w("run", "--rm", "--volumes-from", "src:ro", "busybox", "touch", "/v/y")
    assert done.returncode == 1 and "Read-only" in done.stderr
    assert shell(w, "--volumes-from", "src", "-v", "other:/v", script="ls /v") == ""
    assert w("run", "--rm", "--volumes-from", "src:bad", "busybox", "true").returncode == 125
    assert w("run", "--rm", "--volumes-from", "nobody", "busybox", "true").returncode == 125


def test_overlay_and_chown_of_a_volume(w: Wherry) -> None:
    shell(w, "-v", "base:/d", script="echo old > /d/x")
    assert shell(w, "-v", "base:/d:O", script="echo new > /d/x; cat /d/x") == "new"
    assert shell(w, "-v", "base:/d", script="cat /d/x") == "old"
    if not w.single_id:
        assert shell(w, "-u", "alice", "-v", "base:/d:U", script="echo mine > /d/x && stat -c %u /d/x") == "1000"


def test_driver_options(w_user: Wherry) -> None:
    w = w_user
    folder = w.folder("dev")
    (folder / "x").write_text("from the host")
    w.ok("volume", "create", "-o", "type=none", "-o", "o=bind,ro", "-o", f"device={folder}", "bound")
    assert shell(w, "-v", "bound:/d", script="cat /d/x; touch /d/y 2>&1 | grep -c Read-only") == "from the host1"
    assert w.ok("volume", "inspect", "-f", "{{.Options.device}}", "bound") == str(folder)
    done = w("volume", "create", "-o", "o=bind", "bad")
    assert done.returncode == 1 and 'missing required option: "device"' in done.stderr
    done = w("volume", "create", "-o", "frob=1", "bad")
    assert done.returncode == 1 and 'invalid option: "frob"' in done.stderr
    done = w("volume", "create", "-d", "nosuch", "bad")
    assert done.returncode == 1 and 'plugin "nosuch" not found' in done.stderr
    assert names(w) == ["bound"]


def test_df_and_system_prune(w_user: Wherry) -> None:
    w = w_user
    shell(w, "-v", "/a", "-v", "stay:/b", script="true")
    w.ok("create", "--name", "x1", "-v", "/a", "busybox")
    assert w.ok("system", "df", "--format", "{{.Type}} {{.TotalCount}}").splitlines()[2] == "Local Volumes 2"
    w.ok("rm", "x1")
    out = w.ok("system", "prune", "-f", "--volumes", "--filter", "label!=none")
    assert "Deleted Volumes:" in out and names(w) == ["stay"]


def test_two_creations_of_one_name(w_user: Wherry) -> None:
    w = w_user
    both = [w.popen("volume", "create", "same") for _ in range(4)]
    for process in both:
        out, err = process.communicate()
        assert process.returncode == 0 and out == b"same\n", err
    assert names(w) == ["same"] and w.check() == ""


def test_tmpfs_volume_is_shared_and_ends_with_its_containers(w: Wherry) -> None:
    w.ok("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,nosuid", "mem")
    w.ok("run", "-d", "--name", "t1", "-v", "mem:/m", "busybox", "sh", "-c", "echo shared > /m/x; sleep 100")
    w.until(lambda: "x" in w.ok("exec", "t1", "ls", "/m"))
    assert shell(w, "-v", "mem:/m", script="cat /m/x; grep ' /m ' /proc/mounts | grep -c size=1024k") == "shared\n1"
    assert leaks.mounts(w) == []
    pid = int((w.runroot / "volumes/mem/holder").read_text().split()[0])
    w.ok("rm", "-f", "t1")
    w.until(lambda: not Path(f"/proc/{pid}").exists())
    assert shell(w, "-v", "mem:/m", script="ls /m") == ""


def test_python_api(w_user: Wherry) -> None:
    code = (
        "import wherry, io\n"
        "with wherry.Engine() as e:\n"
        "    v = e.volumes.create('api', labels={'a': 'b'})\n"
        "    v.snapshot('s1'); c = v.clone('twin'); v.restore('s1')\n"
        "    print([x.name for x in e.volumes.list()], v.attrs['Labels'], v.containers, v.snapshots(), c.size)\n"
        "    c.remove(); v.remove(); e.secrets.create('s', b'x'); print(e.secrets.list(), e.secrets.exists('s')); e.secrets.remove('s')\n"
    )
    w = w_user
    env = {"WHERRY_ROOT": str(w.root), "WHERRY_RUNROOT": str(w.runroot)}
    done = w.host(w.command.parent / "python", "-I", w.file("p.py", code), env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['api', 'twin'] {'a': 'b'} [] ['s1'] 0\n['s'] True\n"
    told = w.ok("events", "--since", "1m", "--until", "0s", "--filter", "type=volume", "--format", "{{.Action}} {{.Actor.ID}}")
    assert {"create api", "create twin", "destroy twin", "destroy api"} <= set(told.splitlines())

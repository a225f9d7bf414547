"""The Python API where the guide's examples don't look: errors, ends, orders that go wrong, other people's masks and signals."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import wherry
from support.engine import Wherry


@pytest.fixture
def engine(w_root: Wherry) -> Iterator[wherry.Engine]:
    with wherry.Engine(str(w_root.root), str(w_root.runroot)) as engine:
        yield engine


def test_missing_things(engine: wherry.Engine) -> None:
    with pytest.raises(wherry.NotFound, match="No such container: nobody"):
        engine.containers.get("nobody")
    with pytest.raises(wherry.NotFound, match="No such image: nothing"):
        engine.images.get("nothing")
    with pytest.raises(wherry.NotFound):
        engine.containers.create("nothing", pull="never")
    with pytest.raises(wherry.InvalidArgument, match="colour"):
        engine.containers.create("busybox", colour="red")  # type: ignore[call-arg]


def test_what_can_not_be_executed_leaves_nothing(engine: wherry.Engine) -> None:
    with pytest.raises(wherry.LaunchError) as found:
        engine.containers.run("busybox", ["/nothing"], remove=True)
    assert found.value.exit_code == 127
    assert engine.containers.list(all=True) == []
    with pytest.raises(wherry.ContainerError):
        engine.containers.run("busybox", "false", remove=True)
    assert engine.containers.list(all=True) == []


def test_orders_to_a_container_that_does_not_run(engine: wherry.Engine) -> None:
    container = engine.containers.create("busybox", ["true"])
    for order in (lambda: container.exec_run("true"), container.kill, container.attach):
        with pytest.raises(wherry.Conflict):
            order()
    container.stop()
    container.remove()
    with pytest.raises(wherry.NotFound):
        container.reload()


def test_attach_to_one_that_runs(engine: wherry.Engine) -> None:
    container = engine.containers.run("busybox", ["cat"], detach=True, stdin_open=True)
    with container.attach(stdin=True) as first, container.attach() as second:
        first.write(b"both\n")
        assert first.read() == second.read() == ("stdout", b"both\n")
    assert container.status == "running"
    container.rename("other")
    assert container.name == "other" and engine.containers.get("other") == container


def test_large_input_and_output_at_once(engine: wherry.Engine) -> None:
    data = os.urandom(1 << 20) * 3
    assert engine.containers.run("busybox", ["cat"], input=data, remove=True) == data


def test_an_abandoned_stream_leaves_nothing_behind(engine: wherry.Engine) -> None:
    with engine.containers.run_stream("busybox", ["sh", "-c", "read x"], stdin_open=True, auto_remove=True) as stream:
        container = engine.containers.get(stream.id)
    assert container.status == "running"
    container.stop(timeout=0)
    assert engine.containers.list(all=True) == []


def test_options_reach_the_container(engine: wherry.Engine) -> None:
    script = "echo $A; hostname; id -u; pwd; cat /proc/self/oom_score_adj; ulimit -n; touch /x 2>&1 | wc -l"
    output = engine.containers.run(
        "busybox", ["-c", script], entrypoint="sh", environment={"A": "b"}, hostname="hull", user=5, working_dir="/tmp",
        oom_score_adj=100, ulimits=["nofile=77:77"], read_only=True, tmpfs={"/run": "size=1m"}, remove=True,
    )  # fmt: skip
    assert output.decode().split() == ["b", "hull", "5", "/tmp", "100", "77", "1"]


def test_the_callers_mask_and_signals_stay(engine: wherry.Engine) -> None:
    old = os.umask(0o077)
    try:
        assert engine.containers.run("busybox", ["sh", "-c", "umask; cat /etc/hosts | wc -l"], user=5, remove=True).split()[0] == b"0022"
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(old)


def test_volumes(engine: wherry.Engine) -> None:
    volume = engine.volumes.create("cargo", labels={"kind": "test"})
    try:
        engine.containers.run("busybox", ["sh", "-c", "echo kept > /data/file"], volumes=["cargo:/data"], remove=True)
        assert engine.containers.run("busybox", ["cat", "/data/file"], volumes=["cargo:/data"], remove=True) == b"kept\n"
        assert engine.volumes.get("cargo") == volume and volume in engine.volumes.list(filters={"label": "kind=test"})
    finally:
        volume.remove()
    with pytest.raises(wherry.NotFound):
        engine.volumes.get("cargo")


def test_networks_and_ports(engine: wherry.Engine) -> None:
    network = engine.networks.create("canal", internal=True)
    try:
        container = engine.containers.run("busybox", ["sleep", "100"], detach=True, network="canal")
        assert "canal" in container.inspect()["NetworkSettings"]["Networks"]
        network.disconnect(container)
        network.connect(container, aliases=["lock"])
        assert engine.networks.get("canal").attrs["Containers"]
        container.remove(force=True)
        published = engine.containers.create("busybox", ["true"], ports={"80": None, "53/udp": ("127.0.0.1", 5353)})
        bindings = published.inspect()["HostConfig"]["PortBindings"]
        assert bindings == {"80/tcp": [{"HostIp": "", "HostPort": ""}], "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "5353"}]}
        published.remove()
    finally:
        for container in engine.containers.list(all=True):
            container.remove(force=True)
        network.remove()


def test_health_archives_and_events(engine: wherry.Engine, tmp_path: Path) -> None:
    check = {"test": "test -e /tmp/good", "interval": 0.1, "retries": 1}
    container = engine.containers.run("busybox", ["sleep", "100"], detach=True, healthcheck=check)
    container.wait(condition="unhealthy")
    assert not container.healthcheck()
    container.exec_run(["touch", "/tmp/good"])
    container.wait(condition="healthy")
    assert container.health == "healthy"
    assert ("A", "/tmp/good") in container.diff()
    with open(tmp_path / "out.tar", "wb+") as file:
        container.get_archive("/tmp/good", file.fileno())
        file.seek(0)
        container.put_archive("/root", file.fileno())
    assert container.exec_run(["test", "-e", "/root/good"]).exit_code == 0
    actions = [event["Action"] for event in engine.events(since_ns=0, filters={"container": [container.id]})]
    assert "health_status: healthy" in actions

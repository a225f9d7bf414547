"""A user's program, for the type checker: `mypy --strict` must find nothing, and know these types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_type

import wherry


def work(engine: wherry.Engine) -> None:
    assert_type(engine.containers.run("busybox", ["true"]), wherry.Output)
    container = engine.containers.run("busybox", "sleep 1", detach=True, environment={"A": "b"}, mem_limit="64m", tty=True)
    assert_type(container, wherry.Container)
    assert_type(container.logs(), bytes)
    assert_type(container.logs(stream=True, follow=True), Iterator[bytes])
    assert_type(container.exec_run(["true"]).exit_code, int)
    assert_type(container.wait(), int)
    assert_type([c.name for c in engine.containers.list(filters={"label": ["a", "b"]})], list[str])
    assert_type(engine.images.get("busybox"), wherry.Image)
    assert_type(engine.containers.prune().reclaimed_bytes, int)
    for stream, data in container.attach():
        assert_type((stream, data), tuple[str, bytes])
    options: wherry.ContainerOptions = {"name": "x", "volumes": ["/a:/b"]}
    assert_type(engine.containers.create("busybox", **options), wherry.Container)


def main() -> None:
    try:
        with wherry.Engine("/tmp/root", on_warning=print) as engine:
            work(engine)
    except wherry.ContainerError as error:
        print(error.exit_code, error.stderr.decode())
    except wherry.WherryError as error:
        print(error.message, error.hint)

"""Working containers, Buildah's way: a container that is an image in the making. It survives its commands; what it will be is in its record.

A working container is a container like others (its files live in the same place, the same code runs commands in it), with a mark that
keeps it out of `ps` and away from `prune`, and with the config of the image it will become in record["Working"].
"""

from __future__ import annotations

import os
import time

from wherry.engine import commit as committing
from wherry.engine import image_in, trees
from wherry.errors import Conflict, HostError, InvalidArgument, NotFound
from wherry.kernel import userns
from wherry.model import jsontext, platform, reference, times
from wherry.model.container import CreateRequest
from wherry.model.record import Record
from wherry.store import containers, images, layers, leases

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from wherry.engine import Engine
    from wherry.store import Store
    from wherry.store.containers import ContainerRow

# In a container's labels: it is a working container.
MARK = "io.wherry.working"
SCRATCH = "scratch"


class RunWishes(Record):
    """`env` "KEY=VALUE"; `network` "host" or "none"."""

    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    network: str = "host"
    hostname: str = ""
    tty: bool = False
    volumes: tuple[Any, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    add_history: bool = False


class WorkingSummary(Record):
    id: str
    name: str
    image_id: str
    image_name: str


class Working:
    """A working container, by name or id. Raises NotFound where there is none."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._store = engine.store
        try:
            self.row = containers.find(engine.store.db, name)
        except NotFound:
            raise NotFound(f"container not known: {name}") from None
        self.record = self.row.record()
        if "Working" not in self.record:
            raise NotFound(f"container not known: {name}", hint=f"{name} is a container of `run`, not one that `from` made")

    @property
    def state(self) -> dict[str, Any]:
        """{"config": …, "architecture": …, "os": …, "author": …, "history": […], "scratch": …, "annotations": …}"""
        found: dict[str, Any] = self.record["Working"]
        return found

    @property
    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = self.state["config"]
        return found

    def save(self) -> None:
        containers.set_record(self._store.db, self.row.id, self.record)

    # -- run ---------------------------------------------------------------------------------------------------------------

    def run(self, words: list[str], wishes: RunWishes) -> int:
        """Run a command in it, attached; its exit code."""
        from wherry.engine.run import start

        config, host = self.record["Config"], self.record["HostConfig"]
        config["Cmd"], config["Entrypoint"] = words, None
        config["Env"] = _joined(self.config.get("Env") or [], wishes.env)
        config["User"] = wishes.user or self.config.get("User") or ""
        config["WorkingDir"] = wishes.workdir or self.config.get("WorkingDir") or "/"
        config["Tty"], config["OpenStdin"], config["StdinOnce"] = wishes.tty, True, True
        if wishes.hostname:
            config["Hostname"] = wishes.hostname
        host["NetworkMode"] = wishes.network
        host["CapAdd"], host["CapDrop"] = list(wishes.cap_add), list(wishes.cap_drop)
        from wherry.engine import modes

        self.record["Mounts"] = modes.checked_mounts(wishes.volumes, config)
        self.record["Path"], self.record["Args"] = words[0], words[1:]
        if wishes.add_history:
            self.note("/bin/sh -c " + " ".join(words))
        self.save()
        with self._apart():
            code = start(self._engine, self.row.id, attach=True, stdin=True, sig_proxy=True, detach_keys="")
        return int(code or 0)

    def note(self, text: str) -> None:
        """A line of history for the image."""
        self.state["history"].append({"created": times.format_ns(time.time_ns()), "created_by": text, "empty_layer": True})

    def _apart(self) -> _Apart:
        return _Apart(self)

    # -- mount -------------------------------------------------------------------------------------------------------------

    @property
    def mount_point(self) -> str:
        return self._store.path("containers", self.row.id, "merged")

    @property
    def mounted(self) -> bool:
        return os.path.ismount(self.mount_point)

    def mount(self) -> str:
        """Mount its root where the caller's mount namespace sees it; the path. Raises HostError for a user outside of `unshare`."""
        if os.geteuid() != 0:
            raise HostError(
                "cannot mount using driver overlay in rootless mode. You need to run it in a `wherry unshare` session",
                hint="wherry unshare sh -c '…', or a script: wherry unshare ./script",
            )
        path = self.mount_point
        if self.mounted:
            return path
        from wherry.kernel import inroot

        its = trees.of(self._store, self.row)
        os.makedirs(path, 0o755, exist_ok=True)
        inroot.mount_overlay(list(its.lowers), its.upper, its.work, path)
        return path

    def unmount(self) -> bool:
        """Whether there was something to unmount."""
        if not self.mounted:
            return False
        from wherry.kernel import inroot

        inroot.unmount(self.mount_point)
        return True

    # -- commit ------------------------------------------------------------------------------------------------------------

    def commit(self, target: str, *, squash: bool = False, created_ns: int = -1, omit_history: bool = False) -> str:
        """The image that it is now; its id. `created_ns`: the time that the image says."""
        name = reference.parse(target).tagged() if target else None
        flat = squash or bool(self.state.get("scratch"))
        with self._apart():
            staged = committing.take_layer(self._engine, self.row, squash=squash, pause=False)
        below = [] if flat else self.row.layer_numbers()[::-1]
        numbers: list[layers.StagedLayer | int] = [*below, staged]
        diff_ids = [str(self._store.db.row("SELECT diff_id FROM layers WHERE id = ?", (n,))[0]) for n in below]
        document = self._document([*diff_ids, staged.diff_id], created_ns, squash=squash, omit_history=omit_history)
        try:
            text = jsontext.dumps(document).encode("utf-8", "surrogateescape")
            return image_in.commit(self._store, text, numbers, [name] if name else [], b"")
        except BaseException:
            if os.path.isdir(staged.path):
                staged.drop()
            raise

    def _document(self, diff_ids: list[str], created_ns: int, *, squash: bool, omit_history: bool) -> dict[str, Any]:
        state = self.state
        created = times.format_ns(time.time_ns() if created_ns < 0 else created_ns)
        entry = {"created": created, "created_by": state.get("created_by") or "/bin/sh"}
        if state.get("history_comment"):
            entry["comment"] = state["history_comment"]
        below = [] if squash else list(state.get("base_history") or [])
        document = {key: state[key] for key in ("architecture", "variant", "os", "os.version", "os.features", "author") if state.get(key)}
        document.update(
            created=created,
            config={key: value for key, value in self.config.items() if value},
            rootfs={"type": "layers", "diff_ids": diff_ids},
            history=[] if omit_history else [*below, *state["history"], entry],
        )
        return document


class _Apart:
    """While a command runs in it, a working container isn't mounted here: two mounts of one upper folder would not see each other."""

    def __init__(self, working: Working) -> None:
        self._working = working
        self._was = False

    def __enter__(self) -> None:
        self._was = self._working.unmount()

    def __exit__(self, *_error: object) -> None:
        if self._was:
            self._working.mount()


def _joined(first: list[str], more: tuple[str, ...]) -> list[str]:
    names = {entry.partition("=")[0] for entry in more}
    return [e for e in first if e.partition("=")[0] not in names] + [e for e in more if "=" in e]


def from_image(engine: Engine, image: str, *, name: str = "", pull: str = "missing", platform_text: str = "") -> Working:
    """A new working container on an image, or on "scratch". Raises NotFound, Conflict, and what a pull raises."""
    store = engine.store
    empty = image == SCRATCH
    given = _scratch_image(store) if empty else image
    labels = {MARK: "1"}
    host = {"NetworkMode": "host", "LogConfig": {"Type": "none", "Config": {}}, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}}
    wanted = name or _free_name(store, image)
    config = {"Cmd": ["/bin/sh"], "Entrypoint": [""], "Labels": labels}
    request = CreateRequest(given, config, host, name=wanted, pull=pull, platform=platform_text)
    try:
        row = _created(engine, request)
    except Conflict:
        if name:
            raise
        row = _created(engine, request.replace(name=_free_name(store, image)))
    record = row.record()
    record["Working"] = _begin(store, row, empty)
    if store.uid == 0 and userns.current().mode == "host" and os.environ.get(userns.MARK) != "1":
        # Root's keep ids of their own also with the host's network, as RUN of a build.
        record["IdRange"] = leases.FOR_BUILDS
    record["Working"]["from"] = "" if empty else image
    with store.db.transaction() as db:
        containers.set_record(db, row.id, record)
        db.execute("UPDATE containers SET image_name = ? WHERE id = ?", ("" if empty else _canonical(image), row.id))
        if empty:
            images.delete(db, row.image_id)
    return Working(engine, row.id)


def _created(engine: Engine, request: CreateRequest) -> ContainerRow:
    from wherry.engine.create import create

    return create(engine, request)


def _canonical(image: str) -> str:
    try:
        return reference.parse(image).tagged().canonical
    except InvalidArgument:
        return image


def _scratch_image(store: Store) -> str:
    """An image of one empty layer, for the container's root; the layer never becomes part of an image."""
    path, entries, size = layers.stage(store, lambda fd: _write_all(fd, bytes(1024)), single=image_in.single(), recipe=True)
    import hashlib

    diff_id = "sha256:" + hashlib.sha256(bytes(1024)).hexdigest()
    staged = layers.StagedLayer(path, diff_id, size, entries, recipe=path + ".recipe", tar_bytes=1024)
    own = platform.host()
    # Its id is its own, so that it can go when the container is there.
    document = {
        "architecture": own.architecture,
        "os": own.os,
        "config": {},
        "comment": os.urandom(8).hex(),
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }
    return image_in.commit(store, jsontext.dumps(document).encode(), [staged], [], b"")


def _write_all(fd: int, data: bytes) -> None:
    os.write(fd, data)


def _begin(store: Store, row: ContainerRow, empty: bool) -> dict[str, Any]:
    own = platform.host()
    document: dict[str, Any] = {} if empty else jsontext.loads(images.read_blob(store, row.image_id))
    return {
        "config": document.get("config") or {},
        "architecture": document.get("architecture") or own.architecture,
        "os": document.get("os") or own.os,
        **{key: document[key] for key in ("variant", "os.version", "os.features", "author") if document.get(key)},
        "base_history": document.get("history") or [],
        "history": [],
        "scratch": empty,
        "annotations": {},
    }


def _free_name(store: Store, image: str) -> str:
    """Buildah's: the last part of the image's name, "-working-container", and a number if that is taken."""
    if image == SCRATCH:
        stem = "working-container"
    else:
        plain = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
        stem = f"{plain}-working-container" if plain and plain[0].isalnum() else "working-container"
    number, name = 0, stem
    while containers.name_taken(store.db, name):
        number += 1
        name = f"{stem}-{number}"
    return name


def is_working(labels: dict[str, str]) -> bool:
    return MARK in labels


def everything(engine: Engine) -> Iterator[WorkingSummary]:
    """All working containers, the oldest first."""
    for row in reversed(containers.everything(engine.store.db)):
        if is_working(row.labels()):
            yield WorkingSummary(row.id, row.name, row.image_id, row.image_name)


def remove(engine: Engine, name: str) -> str:
    """Remove a working container, its mount with it; its id."""
    found = Working(engine, name)
    found.unmount()
    try:
        os.rmdir(found.mount_point)
    except OSError:
        pass  # it was never mounted
    engine.containers.remove(found.row.id, force=True)
    # Of one from scratch, nothing else has the layer.
    changes = layers.Changes(engine.store)
    with engine.store.db.transaction():
        changes.drop_unused()
    changes.finish()
    return found.row.id

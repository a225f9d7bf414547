"""`system check`: every invariant of the store, looked at; `--repair` mends what can be mended and says what was lost.

On a store that only ever met crashes it finds nothing: the sweep that runs first finishes what was cut short.
"""

from __future__ import annotations

import os
import time

from wherry.kernel import cgroup, process
from wherry.model.record import Record
from wherry.store import actual, containers, removal
from wherry.store.removal import owner_alive
from wherry.store.sweep import sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store import Store


class Finding(Record):
    """`object` is what is wrong, `problem` how, `remedy` what --repair does (or did) about it."""

    object: str
    problem: str
    remedy: str


def check(store: Store, *, repair: bool = False) -> list[Finding]:
    """All findings, in the order database, layers, images, containers, staging, run root.

    Other commands and monitors go on meanwhile: what is only in passing, being made or removed, is gone at a second look and
    counts for nothing.
    """
    from wherry.store import blobs

    # What a removal that was killed left in the blobs: nothing is wrong with it, it only takes place.
    blobs.collect(store)
    found = _look(store, repair=False)
    for pause_s in (0.05, 0.2, 1.0):
        if not found:
            return found
        time.sleep(pause_s)
        sweep(store)
        seen = _look(store, repair=False)
        found = [finding for finding in found if finding in seen]
    return _look(store, repair=True) if repair and found else found


def _look(store: Store, *, repair: bool) -> list[Finding]:
    found: list[Finding] = []
    found += _database(store)
    if found:
        return found
    found += _layers(store, repair)
    found += _images(store, repair)
    found += _containers(store, repair)
    found += _volumes(store, repair)
    found += _staging(store, repair)
    found += _run_root(store, repair)
    return found


def _database(store: Store) -> list[Finding]:
    rows = [r[0] for r in store.db.rows("PRAGMA integrity_check(20)")]
    found = [
        Finding("wherry.db", f"SQLite says: {text}", "restore it from a copy; images can be loaded again") for text in rows if text != "ok"
    ]
    for table, _row, parent, _key in store.db.rows("PRAGMA foreign_key_check"):
        found.append(
            Finding("wherry.db", f"a row of {table} names one of {parent} that is not there", "remove the object that it belongs to")
        )
    return found


def _layers(store: Store, repair: bool) -> list[Finding]:
    found = []
    known = {int(n) for (n,) in store.db.rows("SELECT id FROM layers")}
    on_disk = {int(n) for n in os.listdir(store.path("layers")) if n.isdigit()}
    for number in sorted(known - on_disk):
        images = [r[0] for r in store.db.rows("SELECT DISTINCT image_id FROM image_layers WHERE layer_id = ?", (number,))]
        found.append(Finding(f"layer {number}", "its tree is missing", f"removes the images that need it: {', '.join(images) or 'none'}"))
        if repair:
            _forget_layer(store, number, images)
    for number in sorted(on_disk - known):
        found.append(Finding(f"layers/{number}", "no row of the database knows this tree", "removes the tree"))
        if repair:
            _drop(store, store.path("layers", str(number)), f"rm-layer-{number}")
    used = {int(n) for (n,) in store.db.rows("SELECT DISTINCT layer_id FROM image_layers")}
    used.update(int(n) for (n,) in store.db.rows("SELECT layer_id FROM build_steps WHERE layer_id IS NOT NULL"))
    for row in containers.everything(store.db):
        used.update(row.layer_numbers())
    for number in sorted((known & on_disk) - used):
        found.append(Finding(f"layer {number}", "no image, no container and no cached step uses it", "removes it"))
        if repair:
            store.db.execute("DELETE FROM layers WHERE id = ?", (number,))
            _drop(store, store.path("layers", str(number)), f"rm-layer-{number}")
    return found


def _forget_layer(store: Store, number: int, images: list[str]) -> None:
    with store.db.transaction() as db:
        for image_id in images:
            db.execute("DELETE FROM images WHERE id = ?", (image_id,))
        if not any(number in row.layer_numbers() for row in containers.everything(db)):
            db.execute("DELETE FROM layers WHERE id = ?", (number,))


def _images(store: Store, repair: bool) -> list[Finding]:
    found = []
    for image_id, manifest in store.db.rows("SELECT id, manifest_digest FROM images"):
        for kind, digest in (("config", image_id), ("manifest", manifest)):
            if not digest:
                continue
            path = store.path("blobs", "sha256", digest.removeprefix("sha256:"))
            problem = _blob_problem(path, digest)
            if problem:
                found.append(Finding(f"image {image_id}", f"its {kind} {digest}: {problem}", "removes the image; load it again"))
                if repair:
                    store.db.execute("DELETE FROM images WHERE id = ?", (image_id,))
                    break
    return found


def _blob_problem(path: str, digest: str) -> str:
    import hashlib

    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        return os.strerror(error.errno or 0)
    if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
        return "its bytes have another digest"
    return ""


def _containers(store: Store, repair: bool) -> list[Finding]:
    found = []
    rows = containers.everything(store.db)
    known = {row.id for row in rows}
    on_disk = set(os.listdir(store.path("containers")))
    for row in rows:
        if row.id not in on_disk:
            found.append(Finding(f"container {row.name}", "its folder is missing", "removes the container"))
            if repair:
                containers.delete(store.db, row.id)
            continue
        for part in ("over/upper", "over/work"):
            if not os.path.isdir(store.path("containers", row.id, part)):
                found.append(Finding(f"container {row.name}", f"its {part} is missing", "remove the container: its files are lost"))
        for number in row.layer_numbers():
            if not store.db.row("SELECT 1 FROM layers WHERE id = ?", (number,)):
                found.append(
                    Finding(f"container {row.name}", f"its layer {number} is missing", "remove the container and load its image again")
                )
    for name in sorted(on_disk - known - removal.targets_of_markers(store, "create-")):
        found.append(Finding(f"containers/{name}", "no row of the database knows this folder", "removes the folder"))
        if repair:
            _drop(store, store.path("containers", name), f"rm-{name}")
    for start, owner in store.db.rows("SELECT start, container_id FROM id_ranges"):
        if owner not in known:
            found.append(Finding(f"id range {start}", f"leased by the container {owner}, which is not there", "frees the range"))
            if repair:
                store.db.execute("DELETE FROM id_ranges WHERE start = ?", (start,))
    return found


def _volumes(store: Store, repair: bool) -> list[Finding]:
    from wherry.store import volumecheck

    remedies = {"volume": "gives it an empty folder", "snapshot": "forgets the snapshot", "folder": "removes the folder"}
    found = []
    for kind, name, problem in list(volumecheck.problems(store)):
        found.append(Finding(name if kind == "folder" else f"{kind} {name}", problem, remedies[kind]))
        if repair:
            volumecheck.repair(store, kind, name)
    return found


def _staging(store: Store, repair: bool) -> list[Finding]:
    found = []
    for name in sorted(os.listdir(store.path("staging"))):
        if not owner_alive(name):
            found.append(Finding(f"staging/{name}", "left by a process that is gone", "removes it"))
            if repair:
                removal.drop_trees(store, [name])
    return found


def _run_root(store: Store, repair: bool) -> list[Finding]:
    found = []
    rows = {row.id: row for row in containers.everything(store.db)}
    for name in sorted(os.listdir(store.run)):
        if len(name) != 64:
            continue
        if name not in rows or not actual.read(store, rows[name]).alive:
            found.append(Finding(f"{store.run}/{name}", "the run folder of a container that doesn't run", "removes it"))
            if repair:
                removal.drop_run_folder(store, name)
    for name in sorted(os.listdir(store.run_path("live"))):
        pid, _, rest = name.partition(".")
        start = rest.partition(".")[0]
        if not (pid.isdigit() and start.isdigit() and process.alive(int(pid), int(start))):
            found.append(Finding(f"{store.run}/live/{name}", "a monitor that is gone", "removes the entry"))
            if repair:
                os.unlink(store.run_path("live", name))
    live = {row_id for row_id, row in rows.items() if actual.read(store, row).alive}
    for name in cgroup.existing():
        if name in rows and name not in live:
            found.append(Finding(f"cgroup {name}", "of a container that doesn't run", "removes it"))
            if repair:
                cgroup.remove(name)
    return found


def _drop(store: Store, path: str, doomed: str) -> None:
    os.rename(path, store.path("staging", doomed))
    removal.drop_trees(store, [doomed])

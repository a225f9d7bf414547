"""Names of images, and their removal: `tag`, `untag`, `rmi`, `image prune`."""

from __future__ import annotations

from wherry.errors import Conflict, NotFound
from wherry.model import digest as digests
from wherry.model import reference
from wherry.store import actual, containers, images, layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store import Store
    from wherry.store.containers import ContainerRow
    from wherry.store.images import ImageRow


def tag(store: Store, source: str, target: str) -> None:
    """Give an image another name. Raises NotFound, InvalidArgument."""
    ref = reference.parse(target)
    if ref.digest:
        from wherry.errors import InvalidArgument

        raise InvalidArgument("refusing to create a tag with a digest reference")
    with store.db.transaction() as db:
        images.set_tag(db, ref.tagged().canonical, images.find(db, source).id)


def untag(store: Store, name: str, names: tuple[str, ...]) -> None:
    """Take names away, the image stays: all its names, or those given. Raises NotFound."""
    with store.db.transaction() as db:
        row = images.find(db, name)
        own = images.names_of(db, row.id)
        wanted = [reference.parse(n).tagged().canonical for n in names] or own
        for canonical in wanted:
            if canonical not in own:
                raise NotFound(f"{canonical}: tag not known")
            images.drop_tag(db, canonical)


def _mounted(row: ContainerRow) -> set[str]:
    """Ids of the images that a container mounts."""
    if '"image=' not in row.record_text:
        return set()
    return {o[len("image=") :] for m in row.record()["Mounts"] if m["type"] == "image" for o in m["options"] if o.startswith("image=")}


def remove(store: Store, name: str, *, force: bool) -> list[tuple[str, str]]:
    """docker's `rmi` (moby, daemon/images/image_delete.go). Raises Conflict with its words, NotFound."""
    changes = layers.Changes(store)
    with store.db.transaction() as db:
        row = images.find(db, name)
        users = [c for c in containers.everything(db, with_record=True) if c.image_id == row.id or row.id in _mounted(c)]
        names = images.names_of(db, row.id)
        by_name = _meant_name(row, name)
        if by_name is not None:
            done = _remove_name(store, row, name, by_name, names, users, force)
            blobs: list[str] = []
            if not images.names_of(db, row.id):
                done += _delete(store, row, changes)[0]
                blobs = _blobs_of(row)
        else:
            _check_id(row, names, users, force, store)
            done = [("Untagged", _familiar(n)) for n in names]
            for canonical in names:
                images.drop_tag(db, canonical)
            done += _delete(store, row, changes)[0]
            blobs = _blobs_of(row)
    changes.finish()
    images.drop_unused_blobs(store, blobs)
    return done


def _blobs_of(row: ImageRow) -> list[str]:
    return [row.id, *([row.manifest_digest] if row.manifest_digest else [])]


def _meant_name(row: ImageRow, name: str) -> str | None:
    """The canonical name when `name` is one, None when it is (a beginning of) the id."""
    hexadecimal = row.id.removeprefix("sha256:")
    if name.removeprefix("sha256:") and hexadecimal.startswith(name.removeprefix("sha256:")):
        return None
    ref = reference.parse(name).tagged()
    return (ref.replace(tag="") if ref.digest else ref).canonical


def _familiar(canonical: str) -> str:
    return reference.parse(canonical).familiar


def _remove_name(
    store: Store, row: ImageRow, given: str, canonical: str, names: list[str], users: list[ContainerRow], force: bool
) -> list[tuple[str, str]]:
    if _is_single(names) and users and not force:
        raise Conflict(
            f'conflict: unable to remove repository reference "{given}" (must force) - '
            f"container {users[0].id[:12]} is using its referenced image {row.id[7:19]}"
        )
    going = [canonical]
    if "@" not in canonical:
        # Digests of a repository go with its last tag.
        repository = reference.parse(canonical).repository
        own = [n for n in names if n != canonical and reference.parse(n).repository == repository]
        if all("@" in n for n in own):
            going += own
    if len(going) == len(names):
        _refuse_running(row, users, store)
    for gone in going:
        images.drop_tag(store.db, gone)
    return [("Untagged", _familiar(gone)) for gone in going]


def _is_single(names: list[str]) -> bool:
    """At most one tag, and digests of its repository only."""
    tags = [n for n in names if "@" not in n]
    return len(names) <= 1 or len(tags) <= 1 and len({reference.parse(n).repository for n in names}) == 1


def _check_id(row: ImageRow, names: list[str], users: list[ContainerRow], force: bool, store: Store) -> None:
    short = row.id[7:19]
    _refuse_running(row, users, store)
    if users and not force:
        raise Conflict(f"conflict: unable to delete {short} (must be forced) - image is being used by stopped container {users[0].id[:12]}")
    if not _is_single(names) and not force:
        raise Conflict(f"conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories")


def _refuse_running(row: ImageRow, users: list[ContainerRow], store: Store) -> None:
    for user in users:
        if actual.read(store, user).alive:
            raise Conflict(
                f"conflict: unable to delete {row.id[7:19]} (cannot be forced) - image is being used by running container {user.id[:12]}"
            )


def _delete(store: Store, row: ImageRow, changes: layers.Changes) -> tuple[list[tuple[str, str]], int]:
    """What went, topmost layer first, and its bytes."""
    chain = _chain_ids(store, row)
    images.delete(store.db, row.id)
    gone = dict(changes.drop_unused())
    return [("Deleted", row.id), *(("Deleted", chain_id) for diff_id, chain_id in chain if diff_id in gone)], sum(gone.values())


def _chain_ids(store: Store, row: ImageRow) -> list[tuple[str, str]]:
    """(diff id, chain id), topmost first: docker names layers by the digest of all below them, too (OCI image specification)."""
    found: list[tuple[str, str]] = []
    for number in images.layer_numbers(store.db, row.id)[::-1]:
        (diff_id,) = store.db.row("SELECT diff_id FROM layers WHERE id = ?", (number,))
        found.append((str(diff_id), digests.of(f"{found[-1][1]} {diff_id}".encode()) if found else str(diff_id)))
    return found[::-1]


def prune(store: Store, *, all: bool, filters: dict[str, list[str]]) -> tuple[list[tuple[str, str]], int]:
    """Remove images that no container uses: those without a name, or with `all` every one. What went, and the bytes freed."""
    from wherry.engine import filtering, manifest

    rules = {k: v for k, v in filters.items() if k != "dangling"}
    if filters.get("dangling", [""])[-1] in ("false", "0"):
        all = True
    chosen = filtering.for_prune(rules)
    changes = layers.Changes(store)
    done: list[tuple[str, str]] = []
    blobs: list[str] = []
    freed = 0
    with store.db.transaction() as db:
        rows = containers.everything(db, with_record=True)
        used = {c.image_id for c in rows}.union(*map(_mounted, rows))
        used |= manifest.members(store)
        names = images.all_names(db)
        for row in images.everything(db):
            tagged = any("@" not in n for n in names.get(row.id, ()))
            if row.id in used or tagged and not all or not chosen(row.created_ns, row.config().get("Labels") or {}):
                continue
            done += [("Untagged", _familiar(n)) for n in names.get(row.id, [])]
            blobs += _blobs_of(row)
            lines, bytes_freed = _delete(store, row, changes)
            done += lines
            freed += bytes_freed
        freed += sum(size for _diff_id, size in changes.drop_unused())
    changes.finish()
    images.drop_unused_blobs(store, blobs)
    return done, freed

"""Names of images, and their removal: `tag`, `untag`, `rmi`, `image prune`."""

from __future__ import annotations

from wherry.errors import Conflict, NotFound
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


def remove(store: Store, name: str, *, force: bool) -> list[tuple[str, str]]:
    """docker's `rmi` (moby, daemon/images/image_delete.go). Raises Conflict with its words, NotFound."""
    changes = layers.Changes(store)
    with store.db.transaction() as db:
        row = images.find(db, name)
        users = [c for c in containers.everything(db) if c.image_id == row.id]
        names = images.names_of(db, row.id)
        by_name = _meant_name(row, name)
        if by_name is not None:
            done = _remove_name(store, row, name, by_name, names, users, force)
            blobs: list[str] = []
            if len(names) == 1:
                done += _delete(store, row, changes)
                blobs = _blobs_of(row)
        else:
            _check_id(row, names, users, force, store)
            done = [("Untagged", _familiar(n)) for n in names]
            for canonical in names:
                images.drop_tag(db, canonical)
            done += _delete(store, row, changes)
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
    return reference.parse(name).tagged().canonical


def _familiar(canonical: str) -> str:
    return reference.parse(canonical).familiar


def _remove_name(
    store: Store, row: ImageRow, given: str, canonical: str, names: list[str], users: list[ContainerRow], force: bool
) -> list[tuple[str, str]]:
    if len(names) == 1 and users and not force:
        raise Conflict(
            f'conflict: unable to remove repository reference "{given}" (must force) - '
            f"container {users[0].id[:12]} is using its referenced image {row.id[7:19]}"
        )
    if len(names) == 1:
        _refuse_running(row, users, store)
    images.drop_tag(store.db, canonical)
    return [("Untagged", _familiar(canonical))]


def _check_id(row: ImageRow, names: list[str], users: list[ContainerRow], force: bool, store: Store) -> None:
    short = row.id[7:19]
    _refuse_running(row, users, store)
    if users and not force:
        raise Conflict(f"conflict: unable to delete {short} (must be forced) - image is being used by stopped container {users[0].id[:12]}")
    if len({reference.parse(n).repository for n in names}) > 1 and not force:
        raise Conflict(f"conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories")


def _refuse_running(row: ImageRow, users: list[ContainerRow], store: Store) -> None:
    for user in users:
        if actual.read(store, user).alive:
            raise Conflict(
                f"conflict: unable to delete {row.id[7:19]} (cannot be forced) - image is being used by running container {user.id[:12]}"
            )


def _delete(store: Store, row: ImageRow, changes: layers.Changes) -> list[tuple[str, str]]:
    images.delete(store.db, row.id)
    return [("Deleted", row.id), *(("Deleted", diff_id) for diff_id, _size in changes.drop_unused())]


def prune(store: Store, *, all: bool, filters: dict[str, list[str]]) -> tuple[list[tuple[str, str]], int]:
    """Remove images that no container uses: those without a name, or with `all` every one. What went, and the bytes freed."""
    from wherry.engine import filtering

    rules = {k: v for k, v in filters.items() if k != "dangling"}
    if filters.get("dangling", [""])[-1] in ("false", "0"):
        all = True
    chosen = filtering.for_prune(rules)
    changes = layers.Changes(store)
    done: list[tuple[str, str]] = []
    blobs: list[str] = []
    freed = 0
    with store.db.transaction() as db:
        used = {c.image_id for c in containers.everything(db)}
        names = images.all_names(db)
        for row in images.everything(db):
            if row.id in used or names.get(row.id) and not all or not chosen(row.created_ns, row.config().get("Labels") or {}):
                continue
            done += [("Untagged", _familiar(n)) for n in names.get(row.id, [])]
            images.delete(db, row.id)
            done.append(("Deleted", row.id))
            blobs += _blobs_of(row)
        for diff_id, size in changes.drop_unused():
            done.append(("Deleted", diff_id))
            freed += size
    changes.finish()
    images.drop_unused_blobs(store, blobs)
    return done, freed

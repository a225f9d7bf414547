"""`Engine.images`: one method for each use case."""

from __future__ import annotations

from wherry.model.record import Record
from wherry.store import images, reserve

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterable
    from typing import Any

    from wherry.engine.transfer import Progress
    from wherry.engine.transfer_pull import Pulled, Wishes
    from wherry.engine.transfer_push import Pushed, PushWishes
    from wherry.store import Store


class ImageRecord(Record):
    """What a container needs of its image: `layers` are numbers of trees, topmost first."""

    id: str
    config: dict[str, Any]
    layers: tuple[int, ...]


class ImageSummary(Record):
    """A line of `images`. Tags are familiar names ("alpine:3.10"), digests "alpine@sha256:…". `containers` counts users."""

    id: str
    repo_tags: tuple[str, ...]
    repo_digests: tuple[str, ...]
    created_ns: int
    size_bytes: int
    labels: dict[str, str]
    dangling: bool
    containers: int


class HistoryEntry(Record):
    """A step of an image's history, newest first. `id` is the image's for the newest, "<missing>" else."""

    id: str
    created_ns: int
    created_by: str
    size_bytes: int
    comment: str


class Images:
    """What can be done with images. Names are docker's: a reference, an id, or the unique beginning of one."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _tell(self, action: str, actor: str, name: str) -> None:
        from wherry.store import events

        events.append(self._store, "image", action, actor, {"name": name})

    def _tell_removal(self, done: builtins.list[tuple[str, str]], ident: str) -> None:
        """Of several that prune takes, the image is the first that is deleted after the names."""
        for word, what in done:
            if word == "Untagged":
                self._tell("untag", ident or what, what)
            elif not ident or what == ident:
                self._tell("delete", what, what)

    def get(self, name: str) -> ImageRecord:
        """The image for a new container. Raises NotFound."""
        row = images.find(self._store.db, name)
        return ImageRecord(row.id, row.config(), tuple(images.layer_numbers(self._store.db, row.id)))

    def exists(self, name: str) -> bool:
        from wherry.errors import NotFound

        try:
            images.find(self._store.db, name)
        except NotFound:
            return False
        return True

    def import_(
        self,
        source: str | int,
        *,
        reference: str | None = None,
        changes: Iterable[str] = (),
        message: str = "",
        platform: str | None = None,
    ) -> str:
        """Make an image of one layer out of a tar of a root file system (a path or a descriptor); returns its id."""
        from wherry.engine.image_in import import_

        found = import_(self._store, source, name=reference or "", changes=changes, message=message, platform=platform or "")
        self._tell("import", found, reference or found)
        return found

    def load(
        self, source: str | int, *, quiet: bool = False, platform: str | None = None, progress: Callable[[str], None] | None = None
    ) -> list[str]:
        """Load the images of an archive; returns docker's lines ("Loaded image: …")."""
        from wherry.engine.image_in import load

        lines = load(self._store, source, platform=platform or "", progress=None if quiet else progress)
        for line in lines:
            name = line.partition(": ")[2].strip()
            self._tell("load", images.find(self._store.db, name).id, name)
        return lines

    def inspect(self, name: str) -> dict[str, Any]:
        from wherry.engine.image_list import inspect

        return inspect(self._store, name)

    def history(self, name: str) -> list[HistoryEntry]:
        from wherry.engine.image_list import history

        return history(self._store, name)

    def remove(self, name: str, force: bool = False, prune: bool = True) -> list[tuple[str, str]]:
        """Remove a name, and the image with its last one; returns ("Untagged"|"Deleted", what). Raises Conflict, NotFound."""
        from wherry.engine.image_remove import remove

        reserve.use(self._store)
        ident = images.find(self._store.db, name).id
        done = remove(self._store, name, force=force)
        self._tell_removal(done, ident)
        return done

    def tag(self, source: str, target: str) -> None:
        from wherry.engine.image_remove import tag

        tag(self._store, source, target)
        self._tell("tag", images.find(self._store.db, target).id, target)

    def untag(self, name: str, *names: str) -> None:
        from wherry.engine.image_remove import untag

        untag(self._store, name, names)

    def prune(self, all: bool = False, filters: dict[str, list[str]] | None = None) -> tuple[list[tuple[str, str]], int]:
        """Remove dangling images (`all`: every unused one); what was removed, and the bytes that came free."""
        from wherry.engine.image_remove import prune

        reserve.use(self._store)
        done, freed = prune(self._store, all=all, filters=filters or {})
        self._tell_removal(done, "")
        return done, freed

    def list(self, all: bool = False, filters: dict[str, list[str]] | None = None) -> list[ImageSummary]:
        from wherry.engine.image_list import listing

        return listing(self._store, all=all, filters=filters or {})

    def save(
        self, names: Iterable[str], target: str | int, *, format: str = "docker-archive", compress: bool = False, uncompressed: bool = False
    ) -> None:
        """Write images as an archive to a path or a descriptor; the same image gives the same bytes. Formats: engine/save.py."""
        from wherry.engine.save import save

        save(self._store, names, target, format, compress=compress, uncompressed=uncompressed)

    def pull(self, name: str, *, wishes: Wishes | None = None, progress: Progress | None = None) -> Pulled:
        """Fetch an image from its registry. `progress(layer, status, bytes there, bytes in all)`; an empty layer is a line by itself."""
        from wherry.engine.transfer_pull import Wishes, pull

        found = pull(self._store, name, wishes or Wishes(), progress)
        self._tell("pull", name, name)
        return found

    def push(self, name: str, *, wishes: PushWishes | None = None, progress: Progress | None = None, source: str = "") -> Pushed:
        """Send an image to its registry, under its own name or `source` under another one."""
        from wherry.engine.transfer_push import Pushed, PushWishes, push

        if not source and self._store.db.row("SELECT 1 FROM manifest_lists LIMIT 1"):
            from wherry.engine import manifest

            if manifest.stands_for(self._store, name):
                access = (wishes or PushWishes()).access
                return Pushed(name, manifest.push(self._store, name, name, access, progress=progress), 0)
        found = push(self._store, name, wishes or PushWishes(), progress, source=source)
        self._tell("push", name, name)
        return found

    def push_all(self, name: str, *, wishes: PushWishes | None = None, progress: Progress | None = None) -> builtins.list[Pushed]:
        """Every local tag of a repository."""
        from wherry.engine.transfer_push import PushWishes, push_all

        return push_all(self._store, name, wishes or PushWishes(), progress)

    def pull_all(self, name: str, *, wishes: Wishes | None = None, progress: Progress | None = None) -> builtins.list[Pulled]:
        """Every tag of a repository."""
        from wherry.engine.transfer_pull import Wishes, pull_all

        return pull_all(self._store, name, wishes or Wishes(), progress)

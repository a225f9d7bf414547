"""`Engine.images` and `Image`."""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wherry.client.containers import Filters, Pruned, lists

if TYPE_CHECKING:
    from wherry.engine import Engine

Path = str | os.PathLike[str]


@contextmanager
def _usual_mask() -> Iterator[None]:
    """What is made in a store has modes of its own, whatever the program's mask; a mask is the whole process's, so only as long as needed."""
    old = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(old)


class Image:
    """An image. Every method may raise NotFound when it was removed meanwhile."""

    def __init__(self, engine: Engine, id: str) -> None:
        self._engine = engine
        self.id: str = id

    def __repr__(self) -> str:
        return f"<Image: {', '.join(self.tags) or self.short_id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def short_id(self) -> str:
        """ "sha256:" and the first twelve digits."""
        return self.id[:19]

    @property
    def attrs(self) -> dict[str, Any]:
        """docker's document of it, as it is now."""
        return self._engine.images.inspect(self.id)

    @property
    def tags(self) -> list[str]:
        """Its names, familiar: "alpine:latest"."""
        return list(self.attrs["RepoTags"] or ())

    @property
    def labels(self) -> dict[str, str]:
        return dict((self.attrs.get("Config") or {}).get("Labels") or {})

    @property
    def size_bytes(self) -> int:
        """Its layers, unpacked."""
        return int(self.attrs["Size"])

    def history(self) -> list[dict[str, Any]]:
        """Its steps, the newest first: id, created_ns, created_by, size_bytes, comment."""
        found = self._engine.images.history(self.id)
        return [{name: getattr(entry, name) for name in ("id", "created_ns", "created_by", "size_bytes", "comment")} for entry in found]

    def tag(self, name: str) -> None:
        """Another name for it. Raises InvalidArgument."""
        self._engine.images.tag(self.id, name)

    def save(self, path: Path, *, format: str = "docker-archive") -> None:
        """Write it as an archive; formats: docker-archive, oci-archive, docker-dir, oci-dir."""
        self._engine.images.save([self.id], os.fspath(path), format=format)

    def remove(self, *, force: bool = False) -> None:
        """Remove it with all its names. Raises Conflict when a container uses it (`force`: only when one runs)."""
        for name in self.tags[1:]:
            self._engine.images.remove(name)
        self._engine.images.remove(self.id, force)


class Images:
    """The images of a store. Names are docker's: a reference, an id, or the unique beginning of one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, name: str) -> Image:
        """The image of that name or id. Raises NotFound."""
        return Image(self._engine, self._engine.images.get(name).id)

    def list(self, name: str = "", *, filters: Filters | None = None) -> builtins.list[Image]:
        """All, or those of the repository or reference `name`, the newest first. `filters` as `images` takes them."""
        wanted = lists(filters)
        if name:
            wanted["reference"] = [name]
        return [Image(self._engine, summary.id) for summary in self._engine.images.list(filters=wanted)]

    @_usual_mask()
    def pull(self, name: str, *, platform: str = "") -> Image:
        """Fetch an image. Raises RegistryError, AccessDenied, NotFound."""
        from wherry.engine.transfer_pull import Wishes

        self._engine.images.pull(name, wishes=Wishes(platform=platform), progress=self._engine.progress)
        return self.get(name)

    def push(self, name: str) -> str:
        """Send an image to its registry; the digest of its manifest there. Raises RegistryError, AccessDenied, NotFound."""
        return str(self._engine.images.push(name, progress=self._engine.progress).digest)

    @_usual_mask()
    def load(self, source: Path | int) -> builtins.list[Image]:
        """The images of an archive or an OCI folder: a path, or a descriptor to read from. Raises ArchiveError."""
        lines = self._engine.images.load(source if isinstance(source, int) else os.fspath(source), quiet=True)
        return [self.get(line.partition(": ")[2]) for line in lines]

    def save(self, names: Iterable[str], target: Path | int, *, format: str = "docker-archive") -> None:
        """Several images as one archive. Raises NotFound."""
        self._engine.images.save(names, target if isinstance(target, int) else os.fspath(target), format=format)

    @_usual_mask()
    def import_image(self, source: Path | int, name: str = "", *, changes: Sequence[str] = (), message: str = "") -> Image:
        """An image of one layer out of a tar of a root file system. `changes`: lines of a Dockerfile. Raises ArchiveError."""
        path = source if isinstance(source, int) else os.fspath(source)
        found = self._engine.images.import_(path, reference=name or None, changes=changes, message=message)
        return Image(self._engine, found)

    def tag(self, source: str, name: str) -> None:
        """Another name for an image. Raises NotFound, InvalidArgument."""
        self._engine.images.tag(source, name)

    def remove(self, name: str, *, force: bool = False) -> None:
        """Take a name away, and the image with its last one. Raises Conflict, NotFound."""
        self._engine.images.remove(name, force)

    def prune(self, *, all: bool = False, filters: Filters | None = None) -> Pruned:
        """Remove those without a name, or `all` that no container uses."""
        gone, size = self._engine.images.prune(all, lists(filters))
        return Pruned(tuple(what for _kind, what in gone), size)

    @_usual_mask()
    def build(
        self,
        path: Path,
        *,
        tag: str = "",
        dockerfile: str = "",
        buildargs: Mapping[str, str] | None = None,
        target: str = "",
        nocache: bool = False,
        pull: bool = False,
        platform: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> Image:
        """Build an image from the Dockerfile in the folder `path`, or `dockerfile` in or outside of it. Raises BuildError."""
        from wherry.engine.build_request import BuildRequest

        made = self._engine.build.build(
            BuildRequest(
                context=os.fspath(path),
                dockerfile=dockerfile,
                tags=(tag,) if tag else (),
                build_args=dict(buildargs or {}),
                target=target,
                no_cache=nocache,
                pull="always" if pull else "missing",
                platform=platform,
                labels=dict(labels or {}),
            )
        )
        return Image(self._engine, made.image_id)

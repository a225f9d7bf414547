"""`--build-context`: folders, archives, Git repositories and OCI layouts by a name that FROM, COPY --from and mounts may use."""

from __future__ import annotations

import os

from wherry.archive import layout
from wherry.build import keys
from wherry.build.context import Context
from wherry.build.jobs import Base
from wherry.build.workers import Worker
from wherry.engine import build_image, image_in
from wherry.engine.build_context import Inputs
from wherry.errors import BuildError
from wherry.model import digest as digests
from wherry.model import platform
from wherry.store import steps, treeop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store import Store

_LAYOUT = "oci-layout://"
_IMAGE = "docker-image://"


class NamedContexts:
    """`given`: name → where it is, as on the command line. `folders`: those that are files. A context manager."""

    def __init__(self, store: Store, given: dict[str, str], target: str) -> None:
        self._store = store
        self._given = {name.lower(): value for name, value in given.items()}
        self._target = target
        self._inputs: list[Inputs] = []
        self.folders: dict[str, Context] = {}

    def __enter__(self) -> NamedContexts:
        return self

    def __exit__(self, *_error: object) -> None:
        for inputs in self._inputs:
            inputs.close()

    def open(self) -> None:
        """Fetch what has to be fetched. Raises BuildError."""
        for name, value in self._given.items():
            if value.startswith((_IMAGE, _LAYOUT)):
                continue
            if value == "-":
                raise BuildError(f"build context {name}=-: standard input can be the main context only")
            inputs = Inputs(self._store, value, "")
            self._inputs.append(inputs)
            self.folders[name] = inputs.context()

    def save(self) -> None:
        for context in self.folders.values():
            context.save()

    def base(self, name: str, wanted: str) -> Base:
        """A context that FROM names: the image of a layout, or a folder's files as a layer. Raises BuildError, ArchiveError."""
        value = self._given[name.lower()]
        if value.startswith(_LAYOUT):
            return self._image(name, value.removeprefix(_LAYOUT), wanted or self._target)
        return self._files(name, self.folders[name.lower()])

    def _image(self, name: str, place: str, wanted: str) -> Base:
        folder, at, digest = place.partition("@")
        tag = ""
        if not at and not os.path.isdir(folder):
            folder, _, tag = folder.rpartition(":")
        archive = layout.open_archive(folder, self._store.staging("spool"))
        try:
            for image in layout.images(archive, platform.parse(wanted)):
                if digest and digests.of(image.manifest) != digest:
                    continue
                if tag and not any(known.endswith(":" + tag) or known == tag for known in image.names):
                    continue
                image_id = image_in.bring(self._store, archive, image)
                return build_image.image_base(self._store, image_id, name)
        finally:
            archive.close()
        raise BuildError(f"the OCI layout {place} has no such image")

    def _files(self, name: str, context: Context) -> Base:
        match = context.matches("/")[0]
        key = keys.of("folder", context.digest(match, None))
        with Worker() as worker:
            found = steps.find(self._store, key)
            if found is None:
                found = self._layer(worker, name, key, context)
            numbers, diff_ids = build_image.name_layers(self._store, worker, [found[0]])
        own = platform.parse(self._target)
        document = {"os": own.os, "architecture": own.architecture}
        return Base(
            name, "", tuple(numbers), tuple(diff_ids), {}, ({"created_by": f"context {name}"},), self._target, document, self._target
        )

    def _layer(self, worker: Worker, name: str, key: str, context: Context) -> tuple[int, int]:
        folder = self._store.staging("build")
        for path in (folder, folder + "/over", folder + "/over/upper", folder + "/over/work", folder + "/mnt"):
            os.mkdir(path, 0o755)
        match = context.matches("/")[0]
        action = {
            "do": "copy",
            "chown": "",
            "chmod": "",
            "destination": "/",
            "exclude": [],
            "parents": False,
            "users": [],
            "files": [],
            "context": context.path,
            "sources": [[match.path, match.shown, context.listing(match, None), "/", False, False]],
        }
        try:
            worker.do({"do": "layer", "folder": folder, "lowers": [], "actions": [action]})
            return steps.add(self._store, key, f"context {name}", folder + "/over/upper", os.rename)
        finally:
            treeop.remove_trees([folder])

"""Looking at images: `images`, `image inspect`, `history`."""

from __future__ import annotations

import time

from wherry.engine.images import HistoryEntry, ImageSummary
from wherry.errors import InvalidArgument
from wherry.model import jsontext, reference, times
from wherry.store import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.store import Store
    from wherry.store.images import ImageRow


def listing(store: Store, *, all: bool, filters: dict[str, list[str]]) -> list[ImageSummary]:
    """Newest first. Raises InvalidArgument for an unknown filter. `all` has no effect: there are no intermediate images."""
    users = dict(store.db.rows("SELECT image_id, count(*) FROM containers GROUP BY image_id"))
    names = images.all_names(store.db)
    found = []
    for row in images.everything(store.db):
        summary = _summary(row, names.get(row.id, []), int(users.get(row.id, 0)))
        if _chosen(store, row, summary, filters):
            found.append(summary)
    return found


def _summary(row: ImageRow, names: list[str], containers: int) -> ImageSummary:
    familiar = [_familiar(n) for n in names]
    tags = tuple(n for n in familiar if "@" not in n)
    return ImageSummary(
        id=row.id,
        repo_tags=tags,
        repo_digests=tuple(n for n in familiar if "@" in n),
        created_ns=row.created_ns,
        size_bytes=row.size_bytes,
        labels=row.config().get("Labels") or {},
        dangling=not tags,
        containers=containers,
    )


def _familiar(canonical: str) -> str:
    return reference.parse(canonical).familiar


def _chosen(store: Store, row: ImageRow, summary: ImageSummary, filters: dict[str, list[str]]) -> bool:
    for key, values in filters.items():
        if key == "dangling":
            if values[-1] not in ("true", "false", "1", "0"):
                raise InvalidArgument(f"invalid filter 'dangling={values[-1]}'")
            if summary.dangling != (values[-1] in ("true", "1")):
                return False
        elif key == "label":
            for value in values:
                name, equals, wanted = value.partition("=")
                if name not in summary.labels or equals and summary.labels[name] != wanted:
                    return False
        elif key == "reference":
            if not any(_matches(tag, value) for value in values for tag in (*summary.repo_tags, *summary.repo_digests)):
                return False
        elif key in ("before", "since"):
            limits = [images.find(store.db, value).created_ns for value in values]
            if not any(row.created_ns < at if key == "before" else row.created_ns > at for at in limits):
                return False
        elif key == "until":
            if row.created_ns >= min(times.parse_since(value, time.time_ns()) for value in values):
                return False
        else:
            raise InvalidArgument(f"invalid filter '{key}'")
    return True


def _matches(tag: str, pattern: str) -> bool:
    """path.Match over the name with and without its tag: a * does not cross a slash."""
    import fnmatch

    repository = tag.partition("@")[0].rpartition(":")[0] or tag
    for text in (tag, repository):
        if text.count("/") == pattern.count("/") and all(fnmatch.fnmatchcase(a, b) for a, b in zip(text.split("/"), pattern.split("/"))):
            return True
    return False


def inspect(store: Store, name: str) -> dict[str, Any]:
    """An image as docker's API shows it. Raises NotFound."""
    row = images.find(store.db, name)
    document = jsontext.loads(images.read_blob(store, row.id))
    familiar = [_familiar(n) for n in images.names_of(store.db, row.id)]
    numbers = images.layer_numbers(store.db, row.id)
    return {
        "Id": row.id,
        "RepoTags": [n for n in familiar if "@" not in n],
        "RepoDigests": [n for n in familiar if "@" in n],
        "Parent": row.parent_id or "",
        "Comment": document.get("comment") or "",
        "Created": document.get("created") or times.format_ns(row.created_ns),
        "DockerVersion": document.get("docker_version") or "",
        "Author": document.get("author") or "",
        "Config": document.get("config") or {},
        "Architecture": row.architecture,
        **({"Variant": row.variant} if row.variant else {}),
        "Os": row.os,
        "Size": row.size_bytes,
        "VirtualSize": row.size_bytes,
        "GraphDriver": {
            "Name": "overlay2",
            "Data": {
                "UpperDir": store.path("layers", str(numbers[0])) if numbers else "",
                "LowerDir": ":".join(store.path("layers", str(n)) for n in numbers[1:]),
                "MergedDir": "",
                "WorkDir": "",
            },
        },
        "RootFS": {"Type": "layers", "Layers": (document.get("rootfs") or {}).get("diff_ids") or []},
        "Metadata": {"LastTagTime": times.format_ns(row.stored_ns)},
    }


def history(store: Store, name: str) -> list[HistoryEntry]:
    """Steps, newest first. Raises NotFound."""
    row = images.find(store.db, name)
    document = jsontext.loads(images.read_blob(store, row.id))
    numbers = images.layer_numbers(store.db, row.id)[::-1]
    sizes = [int(store.db.row("SELECT size_bytes FROM layers WHERE id = ?", (n,))[0]) for n in numbers]
    found = []
    at = 0
    for step in document.get("history") or [{"created": document.get("created")} for _ in numbers]:
        size = 0
        if not step.get("empty_layer") and at < len(sizes):
            size, at = sizes[at], at + 1
        created = step.get("created")
        found.append(
            HistoryEntry(
                "<missing>", times.parse_ns(created) if created else 0, step.get("created_by") or "", size, step.get("comment") or ""
            )
        )
    if found:
        found[-1] = found[-1].replace(id=row.id)
    return found[::-1]

"""podman's ways of naming containers: --all, --latest, --filter, --cidfile, --ignore. Loaded when one of them is given."""

from __future__ import annotations

import os

from wherry.cli.commands import filters
from wherry.cli.options import CountError
from wherry.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wherry.cli.context import Context
    from wherry.cli.options import Parsed
    from wherry.errors import WherryError

_FLAGS = ("all", "latest", "filter", "cidfile", "running")


def names(context: Context, parsed: Parsed, states: tuple[str, ...] = ()) -> list[str]:
    """The containers that a command is about: those named, or found by its flags. `states`: only those count for --all.

    Raises CountError (nothing was given), UsageError.
    """
    flags = [name for name in _FLAGS if name in parsed.given]
    if parsed.words and ("all" in flags or "latest" in flags):
        raise UsageError(f"--{'all' if 'all' in flags else 'latest'} and containers by name can't be had together")
    if not flags and not parsed.words:
        raise CountError("requires at least 1 argument")
    found = list(parsed.words)
    for path in getattr(parsed, "cidfile", ()) if "cidfile" in flags else ():
        found.append(_from_file(path))
    if "latest" in flags:
        found += [s.id for s in context.engine.containers.list(last=1)]
    elif "all" in flags or "filter" in flags or "running" in flags:
        wanted = filters.parsed(parsed.filter) if "filter" in flags else {}
        only = ("running",) if "running" in flags else states
        found += [s.id for s in context.engine.containers.list(all=True, filters=wanted) if not only or s.state in only]
    return found


def _from_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(4096).strip()
    except OSError as error:
        raise UsageError(f"reading CIDFile: open {path}: {os.strerror(error.errno or 0).lower()}") from error


def without_missing(outcomes: Iterable[tuple[str, WherryError | None]]) -> Iterator[tuple[str, WherryError | None]]:
    """--ignore: what is not there is no failure."""
    for name, error in outcomes:
        if error is None or error.id != "not-found":
            yield name, error

"""Volume drivers by name: modules with the same functions.

check(name, options)            the options of a new volume; raises InvalidArgument, Unsupported
prepare(store, name, options)   what has to be there before a volume is; returns the driver's own state; may raise. Its "files"
                                are written to the volume's folder, 0600, and are no part of the state
locate(store, id, row, mount)   a container starts: the mount with its source (and holder)
inspect(store, row)             what `volume inspect` shows beside docker's keys
settle(store, row)              a container has ended; what is not where it belongs yet, as [name, bytes]
removed(store, row)             the volume is about to be removed; raises when it must not be
"""

from __future__ import annotations

from wherry.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from wherry.volume.plugin import Plugin


def of(name: str) -> ModuleType | Plugin:
    """The driver of that name. Raises NotFound with docker's words."""
    if name == "local":
        from wherry.volume import local

        return local
    if name == "s3":
        from wherry.volume import s3

        return s3
    from wherry.volume import plugin

    found = plugin.find(name)
    if found is not None:
        return found
    raise NotFound(
        f'error looking up volume plugin {name}: plugin "{name}" not found',
        hint="`local` and `s3` are there always, others by a plugin's socket in /run/docker/plugins",
    )

"""Binds that are to share their mounts with the host: possible only where the host's own mount is shared (docker's check, and words)."""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument
from wherry.kernel import mountinfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.model.mounts import MountSpec


def check(mounts: tuple[MountSpec, ...]) -> None:
    """Raises InvalidArgument for a source below a mount that is not shared (of :slave: neither shared nor a slave)."""
    wanted = [m for m in mounts if m.type == "bind" and m.propagation.removeprefix("r") in ("shared", "slave")]
    if not wanted:
        return
    known = mountinfo.mounts()
    for mount in wanted:
        source = os.path.realpath(mount.source)
        # the last one of a path is the one that is seen
        _, _, below = max((len(m.mount_point), number, m) for number, m in enumerate(known) if _is_below(source, m.mount_point))
        kinds = {word.partition(":")[0] for word in below.optional}
        slave = mount.propagation.endswith("slave")
        if "shared" not in kinds and not (slave and "master" in kinds):
            kind = "shared or slave" if slave else "shared"
            raise InvalidArgument(
                f"path {mount.source} is mounted on {below.mount_point} but it is not a {kind} mount",
                hint=f"as root: mount --make-shared {below.mount_point}",
            )


def _is_below(path: str, folder: str) -> bool:
    return folder == "/" or path == folder or path.startswith(folder + "/")

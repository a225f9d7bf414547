"""Files of names: `<run>/net/names/<network id>`, what the resolvers of a network answer from. Replaced by rename at each change."""

from __future__ import annotations

import os

from wherry.engine.network_view import names_of
from wherry.store import containers, networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store import Store


def write(store: Store, network_id: str) -> None:
    """Write a network's file out of the database, under a lock: the last to write has seen what all others committed."""
    from wherry.network.links import Lock

    folder = store.run_path("net", "names")
    os.makedirs(folder, 0o700, exist_ok=True)
    with Lock(store.run_path("net", "lock-" + network_id[:12])):
        lines = []
        for endpoint in networks.active(store.db, network_id):
            row = containers.find(store.db, endpoint.container_id)
            addresses = ",".join(a for a in (endpoint.ipv4, endpoint.ipv6) if a)
            if addresses:
                lines.append(f"{addresses} {' '.join(names_of(row, row.record(), endpoint.config()['Aliases']))}\n")
        path = f"{folder}/{network_id}"
        temporary = f"{path}.{os.getpid()}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, os.fsencode("".join(lines)))
        finally:
            os.close(fd)
        os.rename(temporary, path)

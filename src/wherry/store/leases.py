"""Ranges of host ids that root's containers lease: 65,536 each, no two alike."""

from __future__ import annotations

import binascii

from wherry.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store.db import Database

RANGE = 65536
# systemd keeps 0x80000…0x6FFFFFFF for its own containers and 0x7FFE0000… for foreign images; /etc/subuid's default tools
# count up from 100,000 and stay far below. What lies between is nobody's (systemd's "UIDs and GIDs" page).
FIRST = 0x70000000
COUNT = 0x0FFD
# The last one serves the steps of builds: each runs in a user and a pid namespace of its own, and none outlives its builder.
FOR_BUILDS = FIRST + COUNT * RANGE


def lease(db: Database, container_id: str, taken_elsewhere: tuple[tuple[int, int], ...] = ()) -> int:
    """Lease a range for a container (its own one if it has one already) and return its first host id.

    `taken_elsewhere` are (start, count) of /etc/subuid and /etc/subgid, which are never overlapped. Raises HostError when all are out.
    """
    row = db.row("SELECT start FROM id_ranges WHERE container_id = ?", (container_id,))
    if row:
        return int(row[0])
    # A hash picks the first try, so that many containers started at once rarely meet; then the next free one.
    at = binascii.crc32(container_id.encode()) % COUNT
    for step in range(COUNT):
        start = FIRST + ((at + step) % COUNT) * RANGE
        if any(start < s + n and s < start + RANGE for s, n in taken_elsewhere):
            continue
        if db.row("SELECT 1 FROM id_ranges WHERE start = ?", (start,)):
            continue
        db.execute("INSERT INTO id_ranges (start, container_id) VALUES (?, ?)", (start, container_id))
        return start
    raise HostError(f"all {COUNT} ranges of user ids for containers are leased", hint="remove some containers, or use --userns=host")

"""/proc/self/mountinfo (proc(5))."""

from __future__ import annotations

from wherry.model.record import Record


class Mount(Record):
    """One line. Paths have their octal escapes undone."""

    id: int
    parent: int
    root: str
    mount_point: str
    options: str
    fs_type: str
    source: str
    super_options: str
    optional: tuple[str, ...] = ()


def mounts(path: str = "/proc/self/mountinfo") -> list[Mount]:
    found = []
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            before, _, after = line.rstrip("\n").partition(" - ")
            fields, behind = before.split(" "), after.split(" ")
            if len(fields) < 6 or len(behind) < 3:
                continue
            found.append(
                Mount(
                    int(fields[0]),
                    int(fields[1]),
                    _plain(fields[3]),
                    _plain(fields[4]),
                    fields[5],
                    behind[0],
                    _plain(behind[1]),
                    behind[2],
                    tuple(fields[6:]),
                )
            )
    return found


def _plain(text: str) -> str:
    if "\\" not in text:
        return text
    for octal, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(octal, character)
    return text

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
    """Undo the kernel's escapes: a backslash and three octal digits for blanks, newlines, backslashes and number signs."""
    parts = text.split("\\")
    return parts[0] + "".join(_unescaped(part) for part in parts[1:])


def _unescaped(part: str) -> str:
    digits = part[:3]
    if len(digits) == 3 and all(d in "01234567" for d in digits):
        return chr(int(digits, 8)) + part[3:]
    return "\\" + part

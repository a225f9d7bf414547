"""Sizes in words: docker's rules (docker/go-units)."""

from __future__ import annotations

from wherry.errors import InvalidArgument

_UNITS = "kmgtp"
_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def parse_bytes(text: str, *, base: int = 1024) -> int:
    """ "64m", "1.5 GiB", "100" to bytes; units count in powers of `base`. Raises InvalidArgument."""
    # go-units: the number ends at the last digit, point or blank; one blank may stand before the unit; no sign but on a zero.
    end = max((i + 1 for i, c in enumerate(text) if c in "0123456789. "), default=0)
    number, unit = text[:end], text[end:]
    if number.endswith(" "):
        number = number[:-1]
    plain = number.removeprefix("-")
    if not plain or plain.strip("0123456789.") or plain.count(".") > 1 or plain == ".":
        raise InvalidArgument(f"invalid size: '{text}'")
    value = float(number)
    if value < 0:
        raise InvalidArgument(f"invalid size: '{text}'")
    unit = unit.lower()
    if unit in ("", "b"):
        return int(value)
    if unit[0] not in _UNITS or unit[1:] not in ("", "b", "ib"):
        raise InvalidArgument(f"invalid suffix: '{unit}'")
    return int(value * base ** (_UNITS.index(unit[0]) + 1))


def human(size: float, *, precision: int = 4) -> str:
    """Bytes as docker prints them, in powers of 1000: "1.2MB"."""
    return _human(size, 1000.0, _DECIMAL, precision)


def human_binary(size: float) -> str:
    """Bytes in powers of 1024: "1.5GiB"."""
    return _human(size, 1024.0, _BINARY, 4)


def _human(size: float, base: float, units: tuple[str, ...], precision: int) -> str:
    step = 0
    while size >= base and step < len(units) - 1:
        size /= base
        step += 1
    return f"{size:.{precision}g}{units[step]}"

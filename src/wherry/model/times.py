"""Times: nanoseconds since the epoch, RFC 3339 with nanoseconds, and what --since and --until take."""

from __future__ import annotations

import time

from wherry.errors import InvalidArgument
from wherry.model import duration

NS = 1_000_000_000


def format_ns(at_ns: int) -> str:
    """RFC3339Nano in UTC, as Go prints it: trailing zeros of the fraction are left out."""
    seconds, fraction = divmod(at_ns, NS)
    t = time.gmtime(seconds)
    text = f"{t.tm_year:04d}-{t.tm_mon:02d}-{t.tm_mday:02d}T{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}"
    if fraction:
        text += f".{fraction:09d}".rstrip("0")
    return text + "Z"


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 of a civil date (proleptic Gregorian)."""
    year -= month <= 2
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def parse_ns(text: str) -> int:
    """An RFC 3339 time, or a date or time without its end ("2024-05-01", "2024-05-01T10:00"; local time). Raises InvalidArgument."""
    try:
        return _parse(text)
    except (ValueError, IndexError):
        raise InvalidArgument(f"invalid time: {text!r}") from None


def _parse(text: str) -> int:
    date, _, clock = text.replace(" ", "T", 1).partition("T")
    year, month, day = (int(part) for part in date.split("-"))
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise ValueError(text)
    offset: int | None = None
    if clock.endswith(("Z", "z")):
        clock, offset = clock[:-1], 0
    else:
        for sign in "+-":
            head, found, zone = clock.partition(sign)
            if found:
                hours, _, minutes = zone.partition(":")
                offset = (int(hours) * 3600 + int(minutes or 0) * 60) * (1 if sign == "+" else -1)
                clock = head
                break
    clock, _, fraction = clock.partition(".")
    parts = [int(p) for p in clock.split(":")] if clock else []
    hour, minute, second = (parts + [0, 0, 0])[:3]
    if hour > 23 or minute > 59 or second > 60 or len(parts) > 3:
        raise ValueError(text)
    seconds = _days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second
    if offset is None:
        # Local time: the offset that is in force then, not the one of now.
        offset = time.localtime(seconds - time.localtime(max(seconds, 0)).tm_gmtoff).tm_gmtoff
    return (seconds - offset) * NS + int((fraction + "000000000")[:9])


def parse_since(text: str, now_ns: int) -> int:
    """--since and --until: a time, seconds since the epoch with a fraction, or a duration back from now. Raises InvalidArgument."""
    whole, dot, fraction = text.partition(".")
    if whole.isdigit() and (not dot or fraction.isdigit()):
        return int(whole) * NS + int((fraction + "000000000")[:9])
    if text[:1].isdigit() and "-" not in text or text[:1] == "-":
        return now_ns - duration.parse(text.removeprefix("-"))
    return parse_ns(text)


def local_text(at_ns: int) -> str:
    """ "2026-11-24 12:00:00 +0000 UTC": Go's way to print a time in the local zone."""
    t = time.localtime(at_ns // NS)
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", t)

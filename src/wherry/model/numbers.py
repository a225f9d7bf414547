"""Numbers as Go reads them: strconv.ParseInt, whose messages docker's users see."""

from __future__ import annotations

from wherry.errors import InvalidArgument


def parse_int(text: str, *, base: int = 10) -> int:
    """64 bits, signed. Base 0: 0x, 0o, 0b, a leading 0 for octal, underscores between digits. Raises InvalidArgument with Go's words."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    plain = digits.isascii() and digits.isdigit()
    try:
        if not plain and (base or digits[:1] in ("+", "-", "_") or not digits.isascii() or digits != digits.strip()):
            raise ValueError(text)
        number = int(digits, 8 if not base and plain and digits[0] == "0" else base)
    except ValueError:
        raise InvalidArgument(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    if text[:1] == "-":
        number = -number
    if not -(1 << 63) <= number < 1 << 63:
        raise InvalidArgument(f'strconv.ParseInt: parsing "{text}": value out of range')
    return number

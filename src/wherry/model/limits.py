"""Limits in words: the values of docker's flags (docker/cli/opts)."""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.model import sizes
from wherry.model.numbers import parse_int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def nano_cpus(text: str) -> int:
    """ "1.5" → 1500000000. A decimal number or a fraction. Raises InvalidArgument."""
    top, slash, bottom = text.partition("/")
    above, below = _rational(top, text)
    if slash:
        if not (bottom.isascii() and bottom.isdigit() and int(bottom)):
            raise InvalidArgument(f"failed to parse {text} as a rational number")
        below *= int(bottom)
    if above * 1_000_000_000 % below:
        raise InvalidArgument("value is too precise")
    return above * 1_000_000_000 // below


def _rational(text: str, whole: str) -> tuple[int, int]:
    """A decimal number as (numerator, denominator), a power of ten."""
    number, exponent, power = text.lower().partition("e")
    sign = number[:1] if number[:1] in ("+", "-") else ""
    digits, _, fraction = number[len(sign) :].partition(".")
    power_digits = power[1:] if power[:1] in ("+", "-") else power
    plain = digits + fraction
    if not (plain.isascii() and plain.isdigit()) or exponent and not (power_digits.isdigit() and len(power_digits) < 3):
        raise InvalidArgument(f"failed to parse {whole} as a rational number")
    above, below = int(plain) * (-1 if sign == "-" else 1), 10 ** len(fraction)
    shift = int(power) if exponent else 0
    return (above * 10**shift, below) if shift >= 0 else (above, below * 10**-shift)


def memory_or_unlimited(text: str) -> int:
    """--memory-swap: bytes, or -1."""
    return -1 if text == "-1" else sizes.parse_bytes(text)


def weight(text: str) -> int:
    """16 bits, unsigned. Raises InvalidArgument with Go's words."""
    try:
        number = parse_int(text, base=0)
    except InvalidArgument as error:
        raise InvalidArgument(error.message.replace("ParseInt", "ParseUint")) from None
    if text[:1] in ("-", "+"):
        raise InvalidArgument(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if number > 65535:
        raise InvalidArgument(f'strconv.ParseUint: parsing "{text}": value out of range')
    return number


def _device(text: str) -> tuple[str, str]:
    path, colon, value = text.partition(":")
    if not path or not colon or not value or ":" in value:
        raise InvalidArgument(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise InvalidArgument(f"bad format for device path: {text}")
    return path, value


def weight_device(text: str) -> dict[str, Any]:
    path, value = _device(text)
    if not value.isdigit() or int(value) and not 10 <= int(value) <= 1000:
        raise InvalidArgument(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": int(value)}


def bytes_rate(text: str) -> dict[str, Any]:
    path, value = _device(text)
    try:
        return {"Path": path, "Rate": sizes.parse_bytes(value)}
    except InvalidArgument:
        raise InvalidArgument(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. "
            "Unit is optional and can be kb, mb, or gb"
        ) from None


def operations_rate(text: str) -> dict[str, Any]:
    path, value = _device(text)
    if not (value.isascii() and value.isdigit()):
        raise InvalidArgument(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive integer"
        )
    return {"Path": path, "Rate": int(value)}

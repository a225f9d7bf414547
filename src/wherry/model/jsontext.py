"""JSON over CPython's C scanner, without the `json` package, whose import costs every command 8 ms.

`_json` is an implementation detail of CPython; where it changes or is missing the `json` package does the work.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_BLANKS = " \t\n\r"


class _Context:
    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}

    @staticmethod
    def parse_constant(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")


def _scanner() -> Callable[[str, int], tuple[Any, int]] | None:
    try:
        import _json

        scan: Callable[[str, int], tuple[Any, int]] = _json.make_scanner(_Context())  # type: ignore[arg-type]
        if scan('{"a": [1, null]}', 0)[0] == {"a": [1, None]}:
            return scan
    except (ImportError, AttributeError, TypeError):
        return None
    return None


_scan = _scanner()


def loads(text: str | bytes) -> Any:
    """Decode a JSON document. Raises ValueError for anything else, also for one that is nested more than the stack bears."""
    if isinstance(text, (bytes, bytearray)):
        text = bytes(text).decode("utf-8", "surrogateescape")
    if _scan is None:
        import json

        return json.loads(text)
    start = 0
    while start < len(text) and text[start] in _BLANKS:
        start += 1
    try:
        value, end = _scan(text, start)
    except (StopIteration, SystemError):
        # The scanner wants json.decoder's error class for some faults and says SystemError where that isn't loaded.
        raise ValueError("not a JSON document") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if text[end:].strip(_BLANKS):
        raise ValueError(f"something stands behind the JSON document, at character {end}")
    return value


def _escape() -> Callable[[str], str]:
    try:
        from _json import encode_basestring

        return encode_basestring
    except ImportError:
        import json

        return lambda s: json.dumps(s, ensure_ascii=False)


_quoted = _escape()


def dumps(value: Any, *, indent: int | None = None, sort: bool = False) -> str:
    """Encode as JSON; compact without `indent` (blanks a level).

    Bytes of the caller's that are no UTF-8 (Python's lone surrogates) are written as escapes, so that the text can be stored and
    `loads` gives them back.
    """
    out: list[str] = []
    _put(out, value, "" if indent is None else "\n", indent or 0, sort)
    text = "".join(out)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in text)
    return text


def _put(out: list[str], value: Any, newline: str, indent: int, sort: bool) -> None:
    if isinstance(value, str):
        out.append(_quoted(value))
    elif value is None:
        out.append("null")
    elif value is True:
        out.append("true")
    elif value is False:
        out.append("false")
    elif isinstance(value, int):
        out.append(str(int(value)))
    elif isinstance(value, float):
        if value - value != 0:
            raise ValueError(f"{value} has no JSON form")
        out.append(repr(value))
    elif isinstance(value, dict):
        _put_object(out, value, newline, indent, sort)
    elif isinstance(value, (list, tuple)):
        _put_list(out, value, newline, indent, sort)
    else:
        raise TypeError(f"{type(value).__name__} has no JSON form")


def _put_object(out: list[str], value: dict[str, Any], newline: str, indent: int, sort: bool) -> None:
    if not value:
        out.append("{}")
        return
    inner = newline + " " * indent if newline else ""
    colon = ": " if newline else ":"
    lead = "{"
    for key in sorted(value) if sort else value:
        out.append(lead + inner + _quoted(str(key)) + colon)
        _put(out, value[key], inner, indent, sort)
        lead = ","
    out.append(newline + "}")


def _put_list(out: list[str], value: Any, newline: str, indent: int, sort: bool) -> None:
    if not value:
        out.append("[]")
        return
    inner = newline + " " * indent if newline else ""
    lead = "["
    for item in value:
        out.append(lead + inner)
        _put(out, item, inner, indent, sort)
        lead = ","
    out.append(newline + "]")

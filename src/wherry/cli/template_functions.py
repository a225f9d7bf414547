"""The functions of --format: Go's own and docker's; how values look as text."""

from __future__ import annotations

from wherry.model import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Missing:
    """What a map hasn't: Go prints <no value>."""

    def __repr__(self) -> str:
        return "<no value>"


MISSING = Missing()


class NilList(tuple[()]):
    """A list that isn't there: [] as text, null as JSON."""


class NilMap(dict[str, object]):
    """A map that isn't there: map[] as text, null as JSON."""


def truth(value: Any) -> bool:
    return False if isinstance(value, Missing) else bool(value)


def shown(value: Any) -> str:
    """Go's %v."""
    if value is True or value is False:
        return "true" if value else "false"
    if value is None:
        return "<nil>"
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "map[" + " ".join(f"{k}:{shown(value[k])}" for k in sorted(value)) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(shown(v) for v in value) + "]"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    return str(value)


def to_json(value: Any) -> str:
    if isinstance(value, (Missing, NilList, NilMap)):
        value = None
    return jsontext.dumps(value)


def row_json(row: dict[str, Any]) -> str:
    """A row of a listing, as docker writes it: keys in order, <, > and & escaped, no methods."""
    text = jsontext.dumps({k: v for k, v in row.items() if not callable(v)}, sort=True)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def index(value: Any, *keys: Any) -> Any:
    """Go's `index`. A missing key of a map of texts is the empty text, as docker's users know it from labels."""
    for key in keys:
        if value is None or isinstance(value, Missing):
            raise ValueError("index of untyped nil")
        if isinstance(value, dict):
            texts = all(isinstance(v, str) for v in value.values())
            value = value.get(key, "" if texts else MISSING)
        elif not isinstance(key, int):
            raise ValueError(f"cannot index slice/array with type {_kind(key)}")
        elif not 0 <= key < len(value):
            raise ValueError(f"index out of range: {key}")
        else:
            value = ord(value[key]) if isinstance(value, str) else value[key]
    return value


def _slice(value: Any, *cut: int) -> Any:
    if any(not isinstance(c, int) or not 0 <= c <= len(value) for c in cut):
        raise ValueError(f"index out of range: {', '.join(map(shown, cut))}")
    return value[cut[0] if cut else 0 : cut[1] if len(cut) > 1 else len(value)]


def _len(value: Any) -> int:
    if value is None or isinstance(value, Missing):
        raise ValueError("len of nil pointer")
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if not isinstance(value, (list, tuple, dict)):
        raise ValueError(f"len of type {_kind(value)}")
    return len(value)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return {int: "int", float: "float64", str: "string", type(None): "nil"}.get(type(value), "map" if isinstance(value, dict) else "slice")


def _printf(form: str, *values: Any) -> str:
    """Go's Sprintf, as far as values of templates go."""
    out: list[str] = []
    rest = list(values)
    at = 0
    while at < len(form):
        if form[at] != "%":
            out.append(form[at])
            at += 1
            continue
        end = at + 1
        while end < len(form) and form[end] in "+-# 0123456789.":
            end += 1
        flags, verb = form[at + 1 : end], form[end : end + 1]
        at = end + 1
        if verb == "%":
            out.append("%")
        elif not verb:
            out.append("%!(NOVERB)")
        elif not rest:
            out.append(f"%!{verb}(MISSING)")
        else:
            out.append(_verb(flags, verb, rest.pop(0)))
    if rest:
        out.append("%!(EXTRA " + ", ".join(f"{_kind(v)}={shown(v)}" for v in rest) + ")")
    return "".join(out)


def _verb(flags: str, verb: str, value: Any) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if verb == "v" or verb == "s" and not number and not isinstance(value, bool):
        return ("%" + flags + "s") % shown(value)
    if verb == "q" and isinstance(value, str):
        return ("%" + flags + "s") % jsontext.dumps(value)
    if verb == "t" and isinstance(value, bool):
        return ("%" + flags + "s") % shown(value)
    if verb in ("d", "x", "X", "o", "c") and number and isinstance(value, int):
        return str(("%" + flags + verb) % value)
    if verb in ("f", "g", "e") and isinstance(value, float):
        return str(("%" + flags + verb) % value)
    if verb in ("x", "X") and isinstance(value, str):
        text = value.encode("utf-8", "surrogateescape").hex()
        return text.upper() if verb == "X" else text
    return f"%!{verb}({_kind(value)}={shown(value)})"


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise ValueError("missing argument for comparison")
    return any(_comparable(first, other) and first == other for other in others)


def _comparable(a: Any, b: Any) -> bool:
    """Values of the same kind; nil compares with everything. Raises ValueError, with Go's words."""
    if a is None or b is None or isinstance(a, Missing) or isinstance(b, Missing):
        return True
    if isinstance(a, bool) != isinstance(b, bool) or isinstance(a, str) != isinstance(b, str):
        raise ValueError("incompatible types for comparison")
    if isinstance(a, (dict, list, tuple)) or isinstance(b, (dict, list, tuple)):
        raise ValueError("non-comparable type")
    return True


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(a: Any, b: Any) -> bool:
        if a is None or b is None or isinstance(a, (bool, Missing)) or isinstance(b, (bool, Missing)):
            raise ValueError("invalid type for comparison")
        return _comparable(a, b) and test(a, b)

    return compare


def _truncate(text: str, most: int) -> str:
    return text if most < 0 else text[:most]


def _title(text: str) -> str:
    """Every word's first letter in upper case, the others as they are."""
    return "".join(c.upper() if not i or not (text[i - 1].isalnum() or text[i - 1] in "_'") else c for i, c in enumerate(text))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"wrong type for value; expected string; got {_kind(value)}")
    return value


def _urlquery(value: Any) -> str:
    from urllib.parse import quote_plus

    return quote_plus(shown(value))


def _html(value: Any) -> str:
    text = shown(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&#34;").replace("'", "&#39;")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": to_json,
    "join": lambda values, separator: separator.join(shown(v) for v in values or ()),
    "split": lambda text, separator: _text(text).split(separator) if separator else list(_text(text)),
    "upper": lambda text: _text(text).upper(),
    "lower": lambda text: _text(text).lower(),
    "title": lambda text: _title(_text(text)),
    "pad": lambda text, before, after: " " * before + text + " " * after if text else text,
    "truncate": lambda text, most: _truncate(_text(text), most),
    "println": lambda *values: " ".join(shown(v) for v in values) + "\n",
    "print": lambda *values: "".join(shown(v) for v in values),
    "printf": _printf,
    "index": index,
    "slice": _slice,
    "len": _len,
    "eq": _equal,
    "ne": lambda a, b: not _equal(a, b),
    "lt": _ordered(lambda a, b: bool(a < b)),
    "le": _ordered(lambda a, b: bool(a <= b)),
    "gt": _ordered(lambda a, b: bool(a > b)),
    "ge": _ordered(lambda a, b: bool(a >= b)),
    # Only their names are needed: their arguments are evaluated one by one (cli/template).
    "and": lambda *values: values[-1],
    "or": lambda *values: values[-1],
    "not": lambda value: not truth(value),
    "html": _html,
    "urlquery": _urlquery,
}

# In a table's head docker's functions leave the field's header as it is.
HEAD_FUNCTIONS = FUNCTIONS | {
    name: lambda first, *_rest: first for name in ("json", "join", "split", "upper", "lower", "title", "pad", "truncate")
}

"""Words on the command line → values: pflag's rules, as docker's users know them.

--name=value, --name value, -n value, -nvalue, -n=value, -abc for switches, -- ends the options. With `interspersed=False` the first
word that is no option ends them, too (run, create, exec: what follows belongs to the container).
"""

from __future__ import annotations

from wherry.errors import Unsupported, UsageError
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Option(Record):
    """One option. `kind`: "bool", "str", "int", "list" (may be repeated)."""

    name: str
    short: str = ""
    kind: str = "str"
    default: Any = ""
    placeholder: str = ""
    help: str = ""
    hidden: bool = False

    @property
    def initial(self) -> Any:
        if self.kind == "list":
            return []
        if self.kind == "bool":
            return bool(self.default)
        return self.default


class Parsed:
    """Values by option name (with underscores), the words that are no options, and which options were given."""

    def __init__(self, values: dict[str, Any], words: list[str], given: set[str]) -> None:
        self._values = values
        self.words = words
        self.given = given

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(name) from None


def parse(options: tuple[Option, ...], words: list[str], *, interspersed: bool = True, later: dict[str, str] | None = None) -> Parsed:
    """Parse `words`. `later` maps options that are not supported to the reason; raises UsageError, Unsupported."""
    by_name = {o.name: o for o in options}
    by_short = {o.short: o for o in options if o.short}
    values: dict[str, Any] = {o.name.replace("-", "_"): o.initial for o in options}
    given: set[str] = set()
    rest: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            rest += words[at:]
            break
        if len(word) < 2 or not word.startswith("-"):
            if not interspersed:
                rest += words[at - 1 :]
                break
            rest.append(word)
            continue
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            option = by_name.get(name)
            if option is None:
                _unknown(name, by_name, later or {})
            at = _take(option, equals, value, words, at, values, given, "--" + name)  # type: ignore[arg-type]
            continue
        letters = word[1:]
        while letters:
            option = by_short.get(letters[0])
            if option is None:
                if letters[0] == "h":
                    raise Help
                _unknown_short(letters[0], word, later or {})
            letters = letters[1:]
            if option.kind == "bool" and not letters.startswith("="):  # type: ignore[union-attr]
                _store(option, "true", values, given, "-" + option.short)  # type: ignore[union-attr, arg-type]
                continue
            equals, value = ("=", letters.removeprefix("=")) if letters else ("", "")
            at = _take(option, equals, value, words, at, values, given, "-" + option.short)  # type: ignore[union-attr, arg-type]
            break
    return Parsed(values, rest, given)


class Help(Exception):
    """--help or -h was given."""


def _unknown(name: str, known: dict[str, Option], later: dict[str, str]) -> None:
    if name == "help":
        raise Help
    if name in later:
        raise Unsupported(f"--{name} is not supported yet", hint=later[name])
    near = nearest(name, list(known))
    raise UsageError(f"unknown flag: --{name}", hint=f"did you mean --{near}?" if near else "")


def _unknown_short(letter: str, word: str, later: dict[str, str]) -> None:
    if letter in later:
        raise Unsupported(f"-{letter} is not supported yet", hint=later[letter])
    raise UsageError(f"unknown shorthand flag: '{letter}' in {word}")


def _take(option: Option, equals: str, value: str, words: list[str], at: int, values: dict[str, Any], given: set[str], shown: str) -> int:
    if option.kind == "bool":
        _store(option, value if equals else "true", values, given, shown)
        return at
    if not equals:
        if at >= len(words):
            raise UsageError(f"flag needs an argument: {shown if shown.startswith('--') else repr(shown[1:]) + ' in ' + shown}")
        value = words[at]
        at += 1
    _store(option, value, values, given, shown)
    return at


_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


def _store(option: Option, text: str, values: dict[str, Any], given: set[str], shown: str) -> None:
    key = option.name.replace("-", "_")
    given.add(option.name)
    if option.kind == "bool":
        if text not in _TRUE and text not in _FALSE:
            raise UsageError(f'invalid argument "{text}" for "{_both(option)}" flag: strconv.ParseBool: parsing "{text}": invalid syntax')
        values[key] = text in _TRUE
    elif option.kind == "int":
        try:
            values[key] = int(text, 10)
        except ValueError:
            raise UsageError(
                f'invalid argument "{text}" for "{_both(option)}" flag: strconv.ParseInt: parsing "{text}": invalid syntax'
            ) from None
    elif option.kind == "list":
        values[key].append(text)
    else:
        values[key] = text


def _both(option: Option) -> str:
    return f"-{option.short}, --{option.name}" if option.short else f"--{option.name}"


def nearest(word: str, known: list[str]) -> str:
    """The known word that is one or two letters away, "" when there is none."""
    best, distance = "", 3
    for candidate in known:
        steps = _distance(word, candidate, distance)
        if steps < distance:
            best, distance = candidate, steps
    return best


def _distance(a: str, b: str, limit: int) -> int:
    """Levenshtein's, given up at `limit`."""
    if abs(len(a) - len(b)) >= limit:
        return limit
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]

"""Words on the command line → values: pflag's rules, as docker's users know them.

--name=value, --name value, -n value, -nvalue, -n=value, -abc for switches, -- ends the options. With `interspersed=False` the first
word that is no option ends them, too (run, create, exec: what follows belongs to the container).
"""

from __future__ import annotations

from wherry.errors import UsageError, WherryError
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class FlagError(UsageError):
    """An option that doesn't exist or has a bad value: docker's client says so with the usage line, and 125 for every command."""

    exit_code = 125


class CountError(UsageError):
    """Too few or too many words that are no options."""


class Option(Record):
    """One option. `kind`: "bool", "str", "int", "list" (may be repeated), "maybe" (a text, "true" where there is none).

    `check` turns a value's text into the value, or raises.

    Of what `check` raises, what docker's client finds becomes a FlagError; a `UsageError` from it always does, and an
    InvalidArgument unless `late` is set: then it is an error of the engine's, as docker's daemon finds it.
    """

    name: str
    short: str = ""
    kind: str = "str"
    default: Any = ""
    placeholder: str = ""
    help: str = ""
    hidden: bool = False
    check: Callable[[str], Any] | None = None
    late: bool = False

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


def parse(options: tuple[Option, ...], words: list[str], *, interspersed: bool = True, later: dict[str, str] | str = "") -> Parsed:
    """Parse `words`. `later`: the command's name in cli/refused, or a table as there. Raises FlagError, Help."""
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
                _unknown(name, by_name, later)
            at = _take(option, equals, value, words, at, values, given, "--" + name)  # type: ignore[arg-type]
            continue
        letters = word[1:]
        while letters:
            option = by_short.get(letters[0])
            if option is None:
                if letters[0] == "h":
                    raise Help
                _unknown_short(letters[0], word, later)
            letters = letters[1:]
            if option.kind in ("bool", "maybe") and not letters.startswith("="):  # type: ignore[union-attr]
                _store(option, "true", values, given, "-" + option.short)  # type: ignore[union-attr, arg-type]
                continue
            # pflag: -n=value, but "-n=" is the value "=".
            equals, value = ("=", letters[1:] if letters[0] == "=" != letters else letters) if letters else ("", "")
            at = _take(option, equals, value, words, at, values, given, "-" + option.short)  # type: ignore[union-attr, arg-type]
            break
    return Parsed(values, rest, given)


class Help(Exception):
    """--help or -h was given."""


def _unknown(name: str, known: dict[str, Option], later: dict[str, str] | str) -> None:
    if name == "help":
        raise Help
    if len(name) > 1:
        _refuse("--" + name, name, later)
    near = nearest(name, [n for n, option in known.items() if not option.hidden])
    raise FlagError(f"unknown flag: --{name}", hint=f"Did you mean --{near}?" if near else "")


def _unknown_short(letter: str, word: str, later: dict[str, str] | str) -> None:
    _refuse("-" + letter, letter, later)
    raise FlagError(f"unknown shorthand flag: '{letter}' in {word}")


def _refuse(flag: str, name: str, later: dict[str, str] | str) -> None:
    if isinstance(later, str):
        from wherry.cli import refused

        later = refused.reasons(later)
    if name in later:
        reason = later[name]
        raise FlagError(f"flag {flag} is not supported yet" + (f": {reason}" if reason else ""))


def _take(option: Option, equals: str, value: str, words: list[str], at: int, values: dict[str, Any], given: set[str], shown: str) -> int:
    if option.kind in ("bool", "maybe"):
        _store(option, value if equals else "true", values, given, shown)
        return at
    if not equals:
        if at >= len(words):
            raise FlagError(f"flag needs an argument: {shown if shown.startswith('--') else repr(shown[1:]) + ' in ' + shown}")
        value = words[at]
        at += 1
    _store(option, value, values, given, shown)
    return at


_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


def _store(option: Option, text: str, values: dict[str, Any], given: set[str], shown: str) -> None:
    key = option.name.replace("-", "_")
    given.add(option.name)
    value: Any = text
    if option.kind == "bool":
        if text not in _TRUE and text not in _FALSE:
            raise _bad(option, text, f'strconv.ParseBool: parsing "{text}": invalid syntax')
        value = text in _TRUE
    elif option.kind == "int":
        value = _integer(option, text)
    elif option.check is not None:
        try:
            value = option.check(text)
        except WherryError as error:
            if option.late and not isinstance(error, UsageError):
                raise
            raise _bad(option, text, error.message) from None
    if option.kind == "list":
        values[key].append(value)
    else:
        values[key] = value


def _bad(option: Option, text: str, reason: str) -> FlagError:
    from wherry.model import jsontext

    return FlagError(f'invalid argument {jsontext.dumps(text)} for "{_both(option)}" flag: {reason}')


def _integer(option: Option, text: str) -> int:
    from wherry.model.numbers import parse_int

    try:
        return parse_int(text, base=0)
    except WherryError as error:
        raise _bad(option, text, error.message) from None


def _both(option: Option) -> str:
    return f"-{option.short}, --{option.name}" if option.short else f"--{option.name}"


def nearest(word: str, known: list[str]) -> str:
    """The known word that is one or two letters away (one in a short word), "" when there is none."""
    best, distance = "", 3 if len(word.rpartition(" ")[2]) > 3 else 2
    for candidate in known:
        steps = _distance(word, candidate, distance)
        if steps < distance:
            best, distance = candidate, steps
    return best


def _distance(a: str, b: str, limit: int) -> int:
    """Letters added, left out, changed or swapped with their neighbour (optimal string alignment), given up at `limit`."""
    if abs(len(a) - len(b)) >= limit:
        return limit
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            steps = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                steps = min(steps, before[j - 2] + 1)
            row.append(steps)
        before, last = last, row
    return last[-1]

"""Words of a Dockerfile: quotes, escapes and variables, by the rules of BuildKit's `shell` package.

${v:-w} ${v-w} ${v:+w} ${v+w} ${v:?w} ${v?w} ${v#p} ${v##p} ${v%p} ${v%%p} ${v/p/r} ${v//p/r}
"""

from __future__ import annotations

from wherry.build import patterns
from wherry.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# A word that grows past this is a bomb: ARG A=$B$B, forty times. A process could not be started with it anyway.
MAX_WORD = 1 << 20
_SPECIAL = frozenset("@*#?-$!0")
_BLANKS = frozenset(" \t\n\v\f\r\x85\xa0")


class Expanded:
    """What came of a text: as one word, as words, and which variables it used, set or not."""

    def __init__(self, text: str, words: list[str], used: set[str], unset: set[str]) -> None:
        self.text = text
        self.words = words
        self.used = used
        self.unset = unset


def expand(text: str, env: Mapping[str, str], *, escape: str = "\\") -> Expanded:
    """Expand variables and take quotes and escapes away. Raises InvalidArgument for what is no substitution."""
    return _expanded(_Lexer(text, env, escape), text)


def expand_keeping_quotes(text: str, env: Mapping[str, str], *, escape: str = "\\") -> Expanded:
    """Expand variables only: quotes are no quotes, as in a heredoc's body."""
    return _expanded(_Lexer(text, env, escape, process_quotes=False), text)


def split(text: str, *, escape: str = "\\", raw: bool = False) -> list[str]:
    """Words of a text, variables left alone. `raw`: with their quotes and escapes as they are written."""
    lexer = _Lexer(text, {}, escape, raw_quotes=raw, raw_escapes=raw, keep_unset=True)
    return _expanded(lexer, text).words


def _expanded(lexer: _Lexer, text: str) -> Expanded:
    try:
        result, words = lexer.until("")
    except RecursionError:
        raise InvalidArgument(f"failed to process {_short(text)}: substitutions are nested too deeply") from None
    except _Bad as error:
        raise InvalidArgument(f"failed to process {_short(text)}: {error}") from None
    return Expanded(result, words, lexer.used, lexer.unset)


def _short(text: str) -> str:
    return '"' + (text if len(text) <= 200 else text[:200] + "…") + '"'


class _Bad(Exception):
    pass


class _Words:
    """Collects words while text comes in piece by piece: blanks outside quotes part them."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._word: list[str] = []

    def add(self, text: str) -> None:
        for character in text:
            if character not in _BLANKS:
                self._word.append(character)
            elif self._word:
                self._end()

    def add_raw(self, text: str) -> None:
        self._word.append(text)

    def _end(self) -> None:
        word = "".join(self._word)
        self._word = []
        if word:
            self.found.append(word)

    def all(self) -> list[str]:
        self._end()
        return self.found


class _Lexer:
    def __init__(
        self,
        text: str,
        env: Mapping[str, str],
        escape: str,
        *,
        raw_quotes: bool = False,
        raw_escapes: bool = False,
        keep_unset: bool = False,
        process_quotes: bool = True,
    ) -> None:
        self._text = text
        self._at = 0
        self._env = env
        self._escape = escape
        self._raw_quotes = raw_quotes
        self._raw_escapes = raw_escapes
        self._keep_unset = keep_unset
        self._process_quotes = process_quotes
        self.used: set[str] = set()
        self.unset: set[str] = set()

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _next(self) -> str:
        character = self._peek()
        self._at += 1
        return character

    def until(self, stop: str, *, raw_escapes: bool = False) -> tuple[str, list[str]]:
        """The text up to `stop` ("": to the end), as one and as words."""
        out: list[str] = []
        size = 0
        words = _Words()
        raw_escapes = raw_escapes or self._raw_escapes
        while character := self._peek():
            if character == stop:
                self._at += 1
                return "".join(out), words.all()
            if character == "$":
                piece = self._dollar()
                words.add(piece)
            elif self._process_quotes and character in "'\"":
                piece = self._single() if character == "'" else self._double()
                words.add_raw(piece)
            elif character == self._escape:
                piece = self._escaped(raw_escapes)
                words.add_raw(piece)
            else:
                self._at += 1
                piece = character
                words.add(piece)
            size += len(piece)
            if size > MAX_WORD:
                raise _Bad(f"it grows past {MAX_WORD} characters")
            out.append(piece)
        if stop:
            raise _Bad(f"unexpected end of statement while looking for matching {stop}")
        return "".join(out), words.all()

    def _escaped(self, raw: bool) -> str:
        """The escape character takes the meaning of the next one; at the end of a text it is nothing."""
        escape = self._next()
        character = self._next()
        if not self._process_quotes and character not in ("$", self._escape):
            # In a heredoc's body only what would mean something can be escaped.
            return escape + character
        return escape + character if raw else character

    def _single(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise _Bad("unexpected end of statement while looking for matching single-quote")
        inner = self._text[self._at + 1 : end]
        self._at = end + 1
        return f"'{inner}'" if self._raw_quotes else inner

    def _double(self) -> str:
        self._at += 1
        out: list[str] = []
        while True:
            character = self._peek()
            if not character:
                raise _Bad("unexpected end of statement while looking for matching double-quote")
            if character == '"':
                self._at += 1
                inner = "".join(out)
                return f'"{inner}"' if self._raw_quotes else inner
            if character == "$":
                out.append(self._dollar())
                continue
            self._at += 1
            if character == self._escape:
                if self._raw_escapes:
                    out.append(character)
                following = self._peek()
                if not following:
                    continue
                if following in ('"', "$", self._escape):
                    character = self._next()
                elif self._raw_escapes:
                    continue
            out.append(character)

    # -- variables -------------------------------------------------------------------------------------------------------

    def _value(self, name: str) -> str | None:
        value = self._env.get(name)
        self.used.add(name)
        if value is None:
            self.unset.add(name)
        return value

    def _dollar(self) -> str:
        self._at += 1
        if self._peek() != "{":
            name = self._name()
            if not name:
                return "$"
            value = self._value(name)
            return "$" + name if value is None and self._keep_unset else value or ""
        self._at += 1
        first = self._peek()
        if not first:
            raise _Bad("syntax error: missing '}'")
        if first in "{}:":
            raise _Bad("syntax error: bad substitution")
        start = self._at
        name = self._name()
        operator = self._next()
        if operator == "}":
            value = self._value(name)
            return f"${{{name}}}" if value is None and self._keep_unset else value or ""
        if operator == "/":
            return self._replaced(name, start)
        empty_is_unset = operator == ":"
        shown = operator
        if empty_is_unset:
            operator = self._next()
            shown += operator
        if not operator:
            raise _Bad("syntax error: missing '}'")
        if operator not in "+-?#%" or empty_is_unset and operator in "#%":
            raise _Bad(f"unsupported modifier ({shown}) in substitution")
        word = self._operand("}", raw_escapes=operator in "#%")
        value = self._env.get(name)
        self.used.add(name)
        if value is None and self._keep_unset:
            return "${" + self._text[start : self._at]
        return self._operated(name, value, operator, word, empty_is_unset)

    def _operand(self, stop: str, *, raw_escapes: bool) -> str:
        try:
            return self.until(stop, raw_escapes=raw_escapes)[0]
        except _Bad:
            if not self._peek():
                raise _Bad("syntax error: missing '}'") from None
            raise

    def _operated(self, name: str, value: str | None, operator: str, word: str, empty_is_unset: bool) -> str:
        there = value is not None and not (empty_is_unset and value == "")
        if operator == "-":
            return value or "" if there else word
        if operator == "+":
            return word if there else ""
        if operator == "?":
            if not there:
                raise _Bad(f"{name}: {word or ('not allowed to be unset' if value is None else 'not allowed to be empty')}")
            return value or ""
        if value is None:
            self.unset.add(name)
        longest = word.startswith(operator)
        pattern = word[1:] if longest else word
        if operator == "#":
            return patterns.without_prefix(value or "", pattern, longest=longest)
        return patterns.without_suffix(value or "", pattern, longest=longest)

    def _replaced(self, name: str, start: int) -> str:
        everywhere = self._peek() == "/"
        if everywhere:
            self._at += 1
        pattern = self._operand("/", raw_escapes=True)
        replacement = self._operand("}", raw_escapes=True)
        value = self._value(name)
        if value is None and self._keep_unset:
            return "${" + self._text[start : self._at]
        return patterns.replaced(value or "", pattern, replacement, everywhere=everywhere)

    def _name(self) -> str:
        """A name of letters, digits and underscores; or digits alone; or one special character."""
        start = self._at
        first = self._peek()
        if first.isdigit():
            while self._peek().isdigit():
                self._at += 1
        elif first and first in _SPECIAL:
            self._at += 1
        else:
            while (character := self._peek()) and (character.isalnum() or character == "_"):
                self._at += 1
        return self._text[start : self._at]

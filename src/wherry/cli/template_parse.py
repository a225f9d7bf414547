"""Go's template syntax → nodes. What is understood is what --format takes; definitions of templates are not among it.

Nodes are tuples: ("text", text), ("print", pipe, place), ("set", name, pipe, place), ("let", name, pipe, place), ("range"|"if"|"with",
names, pipe, body, other, place), ("break",), ("continue",). A pipe is a list of commands, a command a list of operands, an operand
("value", v), ("field", path, place), ("variable", name and path, place), ("function", name, place) or ("pipe", pipe, path, place).
"""

from __future__ import annotations

from wherry.errors import UsageError
from wherry.model import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    Node = tuple[Any, ...]
    Word = tuple[str, int]
    Token = tuple[str, str, int]


class TemplateError(UsageError):
    """A template that can't be parsed or executed; the text is Go's."""


def parse(text: str, functions: Collection[str], name: str = "") -> list[Node]:
    """Nodes of a template; `name` stands in the messages. Raises TemplateError."""
    return _Parser(text, functions, name).parse()


class _Parser:
    def __init__(self, text: str, functions: Collection[str], name: str) -> None:
        self._text = text
        self._functions = functions
        self._name = name
        self._tokens = self._lexed(text)
        self._at = 0
        self._loops = 0

    def parse(self) -> list[Node]:
        nodes = self._nodes(())
        return nodes

    def _fault(self, text: str, place: int) -> TemplateError:
        line = self._text.count("\n", 0, place) + 1
        return TemplateError(f"template: {self._name}:{line}: {text}")

    # -- text and actions ------------------------------------------------------------------------------------------------------

    def _lexed(self, text: str) -> list[Token]:
        """("text"|"action", content, place of the content)"""
        found: list[Token] = []
        at = 0
        trim = False
        while at < len(text):
            start = text.find("{{", at)
            plain = text[at:] if start < 0 else text[at:start]
            if trim:
                plain = plain.lstrip()
            if start < 0:
                found.append(("text", plain, at))
                break
            end = self._closing(start + 2)
            place, action = start + 2, text[start + 2 : end]
            if action[:1] == "-" and action[1:2].isspace():
                plain, action, place = plain.rstrip(), action[1:], place + 1
            trim = action[-1:] == "-" and action[-2:-1].isspace()
            if trim:
                action = action[:-1]
            if plain:
                found.append(("text", plain, at))
            stripped = action.lstrip()
            if not (stripped.startswith("/*") and stripped.rstrip().endswith("*/")):
                found.append(("action", stripped.rstrip(), place + len(action) - len(stripped)))
            at = end + 2
        return found

    def _closing(self, start: int) -> int:
        """Where the }} of an action is."""
        text, at, quote = self._text, start, ""
        while at < len(text):
            character = text[at]
            if quote:
                if character == "\\" and quote != "`":
                    at += 1
                elif character == quote:
                    quote = ""
            elif character in "\"`'":
                quote = character
            elif text.startswith("/*", at):
                end = text.find("*/", at)
                if end < 0:
                    raise self._fault("unclosed comment", start)
                at = end + 1
            elif text.startswith("}}", at):
                return at
            at += 1
        raise self._fault("unterminated quoted string" if quote else "unclosed action", start)

    # -- nodes -----------------------------------------------------------------------------------------------------------------

    def _nodes(self, until: tuple[str, ...]) -> list[Node]:
        nodes: list[Node] = []
        while self._at < len(self._tokens):
            kind, content, place = self._tokens[self._at]
            if kind == "text":
                nodes.append(("text", content))
                self._at += 1
                continue
            words = self._words(content, place)
            word = words[0][0] if words else ""
            if word in until:
                return nodes
            self._at += 1
            if word in ("range", "if", "with"):
                nodes.append(self._block(word, words[1:], place))
            elif word in ("break", "continue"):
                if not self._loops:
                    raise self._fault(f"{{{{{word}}}}} outside {{{{range}}}}", place)
                nodes.append((word,))
            elif word in ("end", "else"):
                raise self._fault(f"unexpected {{{{{word}}}}}", place)
            elif word in ("define", "template", "block"):
                raise self._fault(f"{{{{{word}}}}} is not supported", place)
            else:
                nodes.append(self._statement(words, place))
        if until:
            raise self._fault("unexpected EOF", len(self._text))
        return nodes

    def _block(self, word: str, words: list[Word], place: int) -> Node:
        names, words = _declared(words)
        if not words:
            raise self._fault(f"missing value for {word}", place)
        pipe = self._pipe(words, place)
        self._loops += word == "range"
        body = self._nodes(("else", "end"))
        self._loops -= word == "range"
        _kind, content, at = self._tokens[self._at]
        self._at += 1
        other: list[Node] = []
        if content.startswith("else"):
            rest = self._words(content, at)[1:]
            if rest and rest[0][0] in ("if", "with"):
                return (word, names, pipe, body, [self._block(rest[0][0], rest[1:], at)], place)
            if rest:
                raise self._fault(f"unexpected <{rest[0][0]}> in else", at)
            other = self._nodes(("end",))
            self._at += 1
        return (word, names, pipe, body, other, place)

    def _statement(self, words: list[Word], place: int) -> Node:
        if len(words) > 1 and words[0][0].startswith("$") and words[1][0] in (":=", "="):
            return ("let" if words[1][0] == ":=" else "set", words[0][0], self._pipe(words[2:], place), place)
        if not words:
            raise self._fault("missing value for command", place)
        return ("print", self._pipe(words, place), place)

    def _pipe(self, words: list[Word], place: int) -> list[list[Any]]:
        commands, rest = self._commands(words, 0, place)
        if rest != len(words):
            raise self._fault("unexpected right paren", place)
        return commands

    def _commands(self, words: list[Word], at: int, place: int) -> tuple[list[list[Any]], int]:
        """Commands joined by pipes, up to the end or a closing parenthesis."""
        commands: list[list[Any]] = [[]]
        while at < len(words) and words[at][0] != ")":
            word, where = words[at]
            at += 1
            if word == "|":
                commands.append([])
            elif word == "(":
                inner, at = self._commands(words, at, place)
                if at >= len(words):
                    raise self._fault("unclosed left paren", place)
                path, end = "", words[at][1] + 1
                at += 1
                # A field of what is in the parentheses stands right behind them.
                if at < len(words) and words[at][0].startswith(".") and len(words[at][0]) > 1 and words[at][1] == end:
                    path, at = words[at][0], at + 1
                commands[-1].append(("pipe", inner, path, where))
            else:
                commands[-1].append(self._operand(word, where))
        if not all(commands):
            raise self._fault("missing value for command", place)
        return commands, at

    def _operand(self, word: str, place: int) -> Node:
        first = word[0]
        if first in "\"`'":
            return ("value", self._quoted(word, place))
        if word in ("true", "false"):
            return ("value", word == "true")
        if word == "nil":
            return ("value", None)
        if first == ".":
            return ("field", word, place)
        if first == "$":
            return ("variable", word, place)
        number = _number(word)
        if number is not None:
            return ("value", number)
        if word.isidentifier():
            if word not in self._functions:
                raise self._fault(f'function "{word}" not defined', place)
            return ("function", word, place)
        raise self._fault(f"unexpected {jsontext.dumps(word)} in operand", place)

    def _quoted(self, word: str, place: int) -> str | int:
        if word[0] == "`":
            return word[1:-1]
        if word[0] == "'":
            if len(word) != 3:
                raise self._fault(f"malformed character constant: {word}", place)
            return ord(word[1])
        text = _unquoted(word[1:-1])
        if text is None:
            raise self._fault("invalid syntax", place)
        return text

    def _words(self, text: str, place: int) -> list[Word]:
        """An action's words with their places: strings, parentheses, pipes, fields, numbers, names."""
        found: list[Word] = []
        at = 0
        while at < len(text):
            character = text[at]
            end = at + 1
            if character.isspace():
                at += 1
                continue
            if character in "\"`'":
                while end < len(text) and text[end] != character:
                    end += 2 if text[end] == "\\" and character != "`" else 1
                if end >= len(text):
                    raise self._fault("unterminated quoted string", place)
                end += 1
            elif text.startswith(":=", at):
                end = at + 2
            elif character not in "()|,=":
                while end < len(text) and not text[end].isspace() and text[end] not in "()|,\"`'=" and not text.startswith(":=", end):
                    end += 1
            found.append((text[at:end], place + at))
            at = end
        return found


def _declared(words: list[Word]) -> tuple[list[str], list[Word]]:
    """`$k, $v := …` of range, with and if: the names, and the rest."""
    for index, (word, _place) in enumerate(words):
        if word == ":=":
            return [w for w, _p in words[:index] if w != ","], words[index + 1 :]
    return [], words


def _number(word: str) -> int | float | None:
    try:
        return int(word, 0)
    except ValueError:
        pass
    try:
        return float(word) if word.strip("+-")[:1].isdigit() else None
    except ValueError:
        return None


_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
_CODES = {"x": 2, "u": 4, "U": 8}


def _unquoted(text: str) -> str | None:
    """Go's strconv.Unquote of what stands between double quotes; None where it makes no sense."""
    out: list[str] = []
    at = 0
    while at < len(text):
        character = text[at]
        at += 1
        if character != "\\":
            out.append(character)
            continue
        kind = text[at : at + 1]
        at += 1
        if kind in _ESCAPES:
            out.append(_ESCAPES[kind])
            continue
        digits = text[at : at + _CODES.get(kind, 0)]
        try:
            out.append(chr(int(digits, 16)))
        except (ValueError, OverflowError):
            return None
        at += len(digits)
    return "".join(out)

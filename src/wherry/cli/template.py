"""--format: the part of Go's templates that people use, with docker's functions and Go's text for values.

{{.Field}} {{.A.B}} {{json .}} {{range .List}}…{{else}}…{{end}} {{if}} {{with}} {{$x := …}} {{index . "k"}} {{len .}} {{printf "%s" .}}
{{join . ","}} {{split}} {{upper}} {{lower}} {{title}} {{pad}} {{truncate}} {{println}} {{eq|ne|lt|le|gt|ge|and|or|not}} pipes, {{- trimming -}}.
"""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.model import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Node = tuple[Any, ...]


class Missing:
    """A map's missing key: Go prints it as <no value>."""

    def __repr__(self) -> str:
        return "<no value>"


MISSING = Missing()


def compile_template(text: str) -> Callable[[Any], str]:
    """A function from data to text. Raises InvalidArgument with the place of the fault."""
    nodes, rest = _parse(_tokens(text), 0, ())
    del rest
    return lambda data: "".join(_execute(nodes, data, {"$": data}))


def _fault(text: str, at: int) -> InvalidArgument:
    return InvalidArgument(f"template parsing error: template: :1:{at + 1}: {text}", exit_code=1)


# -- lexing -------------------------------------------------------------------------------------------------------------------


def _tokens(text: str) -> list[tuple[str, str, int]]:
    """("text"|"action", content, place)"""
    found: list[tuple[str, str, int]] = []
    at = 0
    trim = False
    while at < len(text):
        start = text.find("{{", at)
        if start < 0:
            tail = text[at:]
            found.append(("text", tail.lstrip() if trim else tail, at))
            break
        plain = text[at:start].lstrip() if trim else text[at:start]
        end = _closing(text, start + 2)
        if end < 0:
            raise _fault("unclosed action", start)
        action = text[start + 2 : end]
        if action.startswith("- "):
            plain, action = plain.rstrip(), action[2:]
        trim = action.endswith(" -")
        if trim:
            action = action[:-2]
        if plain:
            found.append(("text", plain, at))
        if not action.lstrip().startswith("/*"):
            found.append(("action", action.strip(), start))
        at = end + 2
    return found


def _closing(text: str, at: int) -> int:
    quote = ""
    while at < len(text):
        character = text[at]
        if quote:
            if character == "\\" and quote == '"':
                at += 1
            elif character == quote:
                quote = ""
        elif character in '"`':
            quote = character
        elif text.startswith("}}", at):
            return at
        at += 1
    return -1


def _words(text: str, place: int) -> list[str]:
    """An action's words: strings, parentheses, pipes, fields, numbers, names."""
    found: list[str] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character.isspace():
            at += 1
            continue
        if character in '"`':
            end = at + 1
            while end < len(text) and text[end] != character:
                end += 2 if text[end] == "\\" and character == '"' else 1
            if end >= len(text):
                raise _fault("unterminated quoted string", place)
            found.append(text[at : end + 1])
            at = end + 1
        elif character in "()|,":
            found.append(character)
            at += 1
        elif text.startswith(":=", at):
            found.append(":=")
            at += 2
        elif character == "=":
            found.append("=")
            at += 1
        else:
            end = at
            while end < len(text) and not text[end].isspace() and text[end] not in '()|,"`=' and not text.startswith(":=", end):
                end += 1
            found.append(text[at:end])
            at = end
    return found


# -- parsing -------------------------------------------------------------------------------------------------------------------


def _parse(tokens: list[tuple[str, str, int]], at: int, until: tuple[str, ...]) -> tuple[list[Node], int]:
    nodes: list[Node] = []
    while at < len(tokens):
        kind, content, place = tokens[at]
        at += 1
        if kind == "text":
            nodes.append(("text", content))
            continue
        word = content.partition(" ")[0]
        if word in until:
            return nodes, at - 1
        if word in ("range", "if", "with"):
            node, at = _block(word, content[len(word) :], tokens, at, place)
            nodes.append(node)
        elif word in ("end", "else", "define", "template", "block", "break", "continue"):
            raise _fault(f"unexpected {{{{{word}}}}}", place)
        else:
            nodes.append(_statement(content, place))
    if until:
        raise _fault("unexpected EOF", tokens[-1][2] if tokens else 0)
    return nodes, at


def _block(word: str, rest: str, tokens: list[tuple[str, str, int]], at: int, place: int) -> tuple[Node, int]:
    names: list[str] = []
    words = _words(rest, place)
    if ":=" in words:
        cut = words.index(":=")
        names = [w for w in words[:cut] if w != ","]
        words = words[cut + 1 :]
    pipe = _pipeline(words, place)
    body, at = _parse(tokens, at, ("else", "end"))
    other: list[Node] = []
    if tokens[at][1].startswith("else"):
        condition = tokens[at][1][4:].strip()
        if condition:
            inner = condition.partition(" ")[0]
            if inner not in ("if", "with"):
                raise _fault(f"unexpected {{{{else {inner}}}}}", tokens[at][2])
            node, at = _block(inner, condition[len(inner) :], tokens, at + 1, tokens[at][2])
            return (word, names, pipe, body, [node]), at
        other, at = _parse(tokens, at + 1, ("end",))
    return (word, names, pipe, body, other), at + 1


def _statement(content: str, place: int) -> Node:
    words = _words(content, place)
    if len(words) > 2 and words[0].startswith("$") and words[1] in (":=", "="):
        return ("assign", words[0], _pipeline(words[2:], place))
    return ("print", _pipeline(words, place))


def _pipeline(words: list[str], place: int) -> list[list[Any]]:
    """Commands joined by pipes; each is a list of operands."""
    if not words:
        raise _fault("missing value for command", place)
    commands, rest = _commands(words, 0, place)
    if rest != len(words):
        raise _fault("unexpected right paren", place)
    return commands


def _commands(words: list[str], at: int, place: int) -> tuple[list[list[Any]], int]:
    commands: list[list[Any]] = [[]]
    while at < len(words) and words[at] != ")":
        word = words[at]
        at += 1
        if word == "|":
            commands.append([])
        elif word == "(":
            inner, at = _commands(words, at, place)
            if at >= len(words):
                raise _fault("unclosed left paren", place)
            at += 1
            fields = ""
            if at < len(words) and words[at].startswith(".") and len(words[at]) > 1:
                fields, at = words[at], at + 1
            commands[-1].append(("pipe", inner, fields))
        else:
            commands[-1].append(_operand(word, place))
    if any(not c for c in commands):
        raise _fault("missing value for command", place)
    return commands, at


def _operand(word: str, place: int) -> Any:
    if word[0] == '"':
        try:
            return ("value", jsontext.loads(word))
        except ValueError:
            raise _fault(f"bad string {word}", place) from None
    if word[0] == "`":
        return ("value", word[1:-1])
    if word in ("true", "false"):
        return ("value", word == "true")
    if word == "nil":
        return ("value", None)
    if word == "." or word.startswith("."):
        return ("field", word)
    if word.startswith("$"):
        return ("variable", word)
    if word.lstrip("+-").replace(".", "", 1).isdigit():
        return ("value", float(word) if "." in word else int(word))
    if word.isidentifier():
        if word not in FUNCTIONS:
            raise _fault(f'function "{word}" not defined', place)
        return ("function", word)
    raise _fault(f"unexpected {word!r} in operand", place)


# -- execution -----------------------------------------------------------------------------------------------------------------


def _execute(nodes: list[Node], dot: Any, variables: dict[str, Any]) -> list[str]:
    out: list[str] = []
    for node in nodes:
        kind = node[0]
        if kind == "text":
            out.append(node[1])
        elif kind == "print":
            out.append(shown(_value(node[1], dot, variables)))
        elif kind == "assign":
            variables[node[1]] = _value(node[2], dot, variables)
        elif kind == "range":
            out += _range(node, dot, variables)
        else:
            _word, names, pipe, body, other = node
            value = _value(pipe, dot, variables)
            inner = dict(variables)
            if names:
                inner[names[-1]] = value
            out += _execute(body if truth(value) else other, value if kind == "with" and truth(value) else dot, inner)
    return out


def _range(node: Node, dot: Any, variables: dict[str, Any]) -> list[str]:
    _word, names, pipe, body, other = node
    value = _value(pipe, dot, variables)
    # Go walks maps in the order of their keys.
    pairs = (
        [(k, value[k]) for k in sorted(value)]
        if isinstance(value, dict)
        else list(enumerate(value or ()))
        if not isinstance(value, Missing)
        else []
    )
    if not pairs:
        return _execute(other, dot, variables)
    out: list[str] = []
    for key, item in pairs:
        inner = dict(variables)
        if len(names) == 2:
            inner[names[0]] = key
        if names:
            inner[names[-1]] = item
        out += _execute(body, item, inner)
    return out


def _value(commands: list[list[Any]], dot: Any, variables: dict[str, Any]) -> Any:
    value: Any = None
    for index, command in enumerate(commands):
        last = (value,) if index else ()
        head = command[0]
        if head[0] == "function":
            arguments = [_operand_value(o, dot, variables) for o in command[1:]]
            value = _call(head[1], [*arguments, *last])
        else:
            value = _operand_value(head, dot, variables)
            arguments = [_operand_value(o, dot, variables) for o in command[1:]] + list(last)
            if callable(value):
                # A method, as docker's {{.Label "key"}}.
                value = value(*arguments)
            elif arguments:
                raise InvalidArgument("template: can't give argument to non-function", exit_code=1)
    return value


def _operand_value(operand: Any, dot: Any, variables: dict[str, Any]) -> Any:
    kind = operand[0]
    if kind == "value":
        return operand[1]
    if kind == "field":
        if dot is variables["$"] and isinstance(dot, dict):
            _known(dot, operand[1])
        return _fields(dot, operand[1])
    if kind == "variable":
        name, mark, fields = operand[1].partition(".")
        if name not in variables:
            raise InvalidArgument(f"template: undefined variable: {name}", exit_code=1)
        return _fields(variables[name], mark + fields)
    if kind == "function":
        return _call(operand[1], [])
    return _fields(_value(operand[1], dot, variables), operand[2])


def _fields(value: Any, path: str) -> Any:
    for name in path.split("."):
        if not name:
            continue
        if isinstance(value, dict):
            if name in value:
                value = value[name]
            else:
                value = _loosely(value, name)
        elif value is None or isinstance(value, Missing):
            return MISSING
        else:
            found = getattr(value, name, MISSING)
            if isinstance(found, Missing):
                raise InvalidArgument(f"template: can't evaluate field {name} in type {type(value).__name__}", exit_code=1)
            value = found
    return value


def _known(data: dict[str, Any], path: str) -> None:
    """Below the top a missing key is <no value>; at the top it is a mistyped field, which docker refuses."""
    name = path.strip(".").partition(".")[0]
    if name and name not in data and isinstance(_loosely(data, name), Missing):
        raise InvalidArgument(
            f'template parsing error: template: :1:2: executing "" at <{path}>: map has no entry for key "{name}"', exit_code=1
        )


def _loosely(value: dict[str, Any], name: str) -> Any:
    """Go's field names and JSON's keys differ in case at most: .ID is "Id"."""
    for key in value:
        if key.lower() == name.lower():
            return value[key]
    return MISSING


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
    return str(value)


def _call(name: str, arguments: list[Any]) -> Any:
    try:
        return FUNCTIONS[name](*arguments)
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise InvalidArgument(f"template: error calling {name}: {error}", exit_code=1) from error


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, MISSING)
        elif value is None or isinstance(value, Missing):
            return MISSING
        else:
            value = value[int(key)]
    return value


def _printf(form: str, *values: Any) -> str:
    out = []
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
        verb, flags = form[end : end + 1], form[at + 1 : end]
        at = end + 1
        if verb == "%":
            out.append("%")
            continue
        value = rest.pop(0) if rest else MISSING
        if verb in ("s", "v"):
            out.append(("%" + flags + "s") % shown(value))
        elif verb == "q":
            out.append(jsontext.dumps(shown(value)))
        elif verb in ("d", "x", "o", "f", "t", "c"):
            out.append(shown(value) if verb == "t" else ("%" + flags + verb) % value)
        else:
            raise ValueError(f"unknown verb %{verb}")
    return "".join(out)


def _json(value: Any) -> str:
    if isinstance(value, dict):
        value = {k: v for k, v in value.items() if not callable(v)}
    return jsontext.dumps(None if isinstance(value, Missing) else value)


def _compare(test: Callable[[Any, Any], bool]) -> Callable[..., bool]:
    return lambda first, *others: any(test(first, other) for other in others)


def _and(*values: Any) -> Any:
    return next((v for v in values if not truth(v)), values[-1])


def _or(*values: Any) -> Any:
    return next((v for v in values if truth(v)), values[-1])


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": lambda value: _json(value),
    "join": lambda values, separator: str(separator).join(shown(v) for v in values or ()),
    "split": lambda text, separator: str(text).split(separator),
    "upper": lambda text: str(text).upper(),
    "lower": lambda text: str(text).lower(),
    "title": lambda text: str(text)[:1].upper() + str(text)[1:],
    "pad": lambda text, before, after: " " * before + text + " " * after if text else text,
    "truncate": lambda text, most: str(text)[:most],
    "println": lambda *values: " ".join(shown(v) for v in values) + "\n",
    "print": lambda *values: "".join(shown(v) for v in values),
    "printf": _printf,
    "index": _index,
    "slice": lambda value, *cut: value[slice(*cut)],
    "len": lambda value: len(value) if not isinstance(value, Missing) else 0,
    "eq": _compare(lambda a, b: a == b),
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "and": _and,
    "or": _or,
    "not": lambda value: not truth(value),
    "html": lambda value: str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),
    "urlquery": lambda value: __import__("urllib.parse").parse.quote_plus(str(value)),
}


def list_output(form: str, headers: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Rows of a listing by --format: a template a row, `json`, or `table …` with a header made of the fields' headers."""
    if form == "json":
        return "".join(_json(row) + "\n" for row in rows)
    is_table = form == "table" or form.startswith("table ")
    body = form[6:] if is_table else form
    render = compile_template(body.replace("\\t", "\t").replace("\\n", "\n"))
    lines = [render(row) for row in rows]
    if not is_table:
        return "".join(line + "\n" for line in lines)
    from wherry.cli.output import table

    head = render(headers)
    return table([line.split("\t") for line in [head, *lines]])

"""--format: the part of Go's templates that people use, over documents (inspect) and over rows (listings).

{{.Field}} {{.A.B}} {{json .}} {{range .List}}…{{else}}…{{end}} {{if}} {{with}} {{$x := …}} {{index . "k"}} {{len .}} {{printf "%s" .}}
{{join . ","}} {{split}} {{upper}} {{lower}} {{title}} {{pad}} {{truncate}} {{println}} {{eq|ne|lt|le|gt|ge|and|or|not}} pipes, {{- trimming -}}.

docker executes a document's template over typed structures first and then over the JSON text. Here are only dictionaries, so the fields
that a structure has and the text leaves out are named below, and so are the places where any key is allowed.
"""

from __future__ import annotations

from wherry.cli.template_functions import FUNCTIONS, HEAD_FUNCTIONS, MISSING, Missing, NilList, NilMap, row_json, shown, truth
from wherry.cli.template_parse import TemplateError, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.cli.template_parse import Node

# Fields that are maps with keys of the user's: what such a one hasn't is <no value>, and no error.
_MAPS = frozenset(
    "Annotations Config.Labels Data DriverOpts ExposedPorts Labels Networks Options PortBindings Ports StorageOpt Sysctls Tmpfs Volumes".split()
)
# What null means for the fields of docker's types: a list, or a map. Other nulls are pointers.
_NIL_LISTS = frozenset(
    "Aliases Args Binds CapAdd CapDrop Cmd DNSNames Devices DeviceCgroupRules DeviceRequests Dns DnsOptions DnsSearch Entrypoint Env "
    "ExecIDs ExtraHosts GroupAdd Layers Links MaskedPaths Mounts OnBuild ReadonlyPaths RepoDigests RepoTags SecurityOpt Shell Ulimits "
    "VolumesFrom".split()
)
# Fields that the JSON leaves out when they are empty.
_LEFT_OUT: dict[str, Any] = {
    "Annotations": NilMap(), "ArgsEscaped": False, "Author": "", "Comment": "", "Driver": "", "ExposedPorts": NilMap(), "Health": None,
    "Healthcheck": None, "ImageManifestDescriptor": None, "Init": None, "MacAddress": "", "Mounts": NilList(), "Name": "",
    "NetworkDisabled": False, "OsVersion": "", "Propagation": "", "Shell": NilList(), "SizeRootFs": None, "SizeRw": None,
    "StopSignal": "", "StopTimeout": None, "Storage": None, "StorageOpt": NilMap(), "Sysctls": NilMap(), "Tmpfs": NilMap(),
    "Variant": "",
}  # fmt: skip


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


def compile_template(text: str, *, name: str = "") -> Callable[[Any], str]:
    """A function from a document to text. Raises TemplateError with docker's words; `name` stands in them."""
    try:
        nodes = parse(text, FUNCTIONS, name)
    except TemplateError as error:
        raise TemplateError(f"template parsing error: {error.message}", exit_code=64) from None

    def render(data: Any) -> str:
        try:
            return _Run(text, name, data, FUNCTIONS).text(nodes)
        except TemplateError as error:
            raise TemplateError(f"template parsing error: {error.message}") from None

    return render


def list_output(form: str, headers: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Rows of a listing by --format: a template a row, `json`, or `table …` with a head made of the fields' headers."""
    if form == "json":
        return "".join(row_json(row) + "\n" for row in rows)
    is_table = form == "table" or form.startswith("table ")
    body = (form[6:] if is_table else form).strip().replace("\\t", "\t").replace("\\n", "\n")
    try:
        nodes = parse(body, FUNCTIONS)
    except TemplateError as error:
        raise TemplateError(f"failed to parse template: {error.message}") from None
    try:
        lines = [_Run(body, "", row, FUNCTIONS, rows=True).text(nodes) for row in rows]
        if not is_table:
            return "".join(line + "\n" for line in lines)
        head = _Run(body, "", headers, HEAD_FUNCTIONS, rows=True).text(nodes)
    except TemplateError as error:
        raise TemplateError(f"failed to execute template: {error.message}") from None
    from wherry.cli.output import table

    return table([line.split("\t") for line in [head, *lines]])


class _Run:
    """One execution: the output, and scopes of variables as a list of dictionaries, the innermost last."""

    def __init__(self, text: str, name: str, data: Any, functions: dict[str, Callable[..., Any]], *, rows: bool = False) -> None:
        self._out: list[str] = []
        self._text = text
        self._name = name
        self._data = data
        self._functions = functions
        self._rows = rows

    def text(self, nodes: list[Node]) -> str:
        self.execute(nodes, self._data, [{"$": self._data}])
        return "".join(self._out)

    def execute(self, nodes: list[Node], dot: Any, scopes: list[dict[str, Any]]) -> None:
        for node in nodes:
            kind = node[0]
            if kind == "text":
                self._out.append(node[1])
            elif kind == "print":
                self._out.append(shown(self._pipe(node[1], dot, scopes)))
            elif kind == "let":
                scopes[-1][node[1]] = self._pipe(node[2], dot, scopes)
            elif kind == "set":
                value = self._pipe(node[2], dot, scopes)
                self._scope_of(node[1], scopes, node[3])[node[1]] = value
            elif kind == "range":
                self._range(node, dot, scopes)
            elif kind == "break":
                raise _Break
            elif kind == "continue":
                raise _Continue
            else:
                _word, names, pipe, body, other, _place = node
                value = self._pipe(pipe, dot, scopes)
                holds = truth(value)
                inner = [*scopes, {names[0]: value} if names else {}]
                self.execute(body if holds else other, value if kind == "with" and holds else dot, inner)

    def _range(self, node: Node, dot: Any, scopes: list[dict[str, Any]]) -> None:
        _word, names, pipe, body, other, place = node
        value = self._pipe(pipe, dot, scopes)
        pairs: list[tuple[Any, Any]] = []
        # Go walks maps in the order of their keys.
        if isinstance(value, dict):
            pairs = [(k, value[k]) for k in sorted(value)]
        elif isinstance(value, (list, tuple)):
            pairs = list(enumerate(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            pairs = [(i, i) for i in range(value)]
        elif value is not None and not isinstance(value, Missing):
            raise self._fault(f"range can't iterate over {shown(value)}", place, "range")
        for key, item in pairs:
            inner = dict(zip(names, (key, item) if len(names) == 2 else (item,)))
            try:
                self.execute(body, item, [*scopes, inner])
            except _Break:
                break
            except _Continue:
                continue
        if not pairs:
            self.execute(other, dot, scopes)

    # -- values ----------------------------------------------------------------------------------------------------------------

    def _pipe(self, commands: list[list[Any]], dot: Any, scopes: list[dict[str, Any]]) -> Any:
        value: Any = None
        for number, command in enumerate(commands):
            value = self._command(command, dot, scopes, (value,) if number else ())
        return value

    def _command(self, command: list[Any], dot: Any, scopes: list[dict[str, Any]], last: tuple[Any, ...]) -> Any:
        head = command[0]
        if head[0] == "function" and head[1] in ("and", "or"):
            return self._lazily(head, command[1:], dot, scopes, last)
        arguments = [self._operand(o, dot, scopes) for o in command[1:]] + list(last)
        if head[0] == "function":
            return self._call(head, arguments)
        value = self._operand(head, dot, scopes)
        if callable(value):
            # A method, as docker's {{.Label "key"}}.
            return value(*arguments)
        if arguments:
            raise self._fault(f"can't give argument to non-function {_words(head)}", head[-1] if head[0] != "value" else 0, _words(head))
        return value

    def _lazily(self, head: Any, operands: list[Any], dot: Any, scopes: list[dict[str, Any]], last: tuple[Any, ...]) -> Any:
        """`and` and `or` stop at the first operand that decides."""
        if not operands and not last:
            raise self._fault(f"wrong number of args for {head[1]}: want at least 1 got 0", head[2], head[1])
        value: Any = None
        for operand in operands:
            value = self._operand(operand, dot, scopes)
            if truth(value) == (head[1] == "or"):
                return value
        return last[0] if last else value

    def _operand(self, operand: Any, dot: Any, scopes: list[dict[str, Any]]) -> Any:
        kind = operand[0]
        if kind == "value":
            return operand[1]
        if kind == "function":
            return self._call(operand, [])
        if kind == "field":
            return self._fields(dot, operand[1], operand)
        if kind == "variable":
            name, mark, path = operand[1].partition(".")
            value = self._scope_of(name, scopes, operand[2])[name]
            return self._fields(value, mark + path, operand)
        return self._fields(self._pipe(operand[1], dot, scopes), operand[2], operand)

    def _scope_of(self, name: str, scopes: list[dict[str, Any]], place: int) -> dict[str, Any]:
        found: dict[str, Any] | None = next((scope for scope in reversed(scopes) if name in scope), None)
        if found is not None:
            return found
        raise self._fault(f"undefined variable: {name}", place, name)

    def _fields(self, value: Any, path: str, operand: Any) -> Any:
        # The key that led to `value`; None where it isn't known.
        parent = "" if value is self._data else None
        for name in path.split("."):
            if not name:
                continue
            if isinstance(value, dict):
                value = self._field(value, name, parent, operand)
            elif isinstance(value, Missing):
                return MISSING
            elif value is None:
                raise self._fault(f"nil pointer evaluating field {name}", operand[-1], _words(operand))
            else:
                raise self._fault(f"can't evaluate field {name} in type {type(value).__name__}", operand[-1], _words(operand))
            parent = name
        return value

    def _field(self, value: dict[str, Any], name: str, parent: str | None, operand: Any) -> Any:
        key = name if name in value else _loosely(value, name)
        if key is not None:
            found = value[key]
            if found is None and name in _NIL_LISTS:
                return NilList()
            return NilMap() if found is None and name in _MAPS else found
        if parent in _MAPS:
            return MISSING
        if self._rows:
            raise self._fault(f"can't evaluate field {name}", operand[-1], _words(operand))
        if name in _LEFT_OUT:
            return _LEFT_OUT[name]
        if parent is None:
            return MISSING
        raise self._fault(f'map has no entry for key "{name}"', operand[-1], _words(operand))

    def _call(self, head: Any, arguments: list[Any]) -> Any:
        name = head[1]
        if name == "json" and self._rows and arguments and arguments[-1] is self._data:
            return row_json(self._data)
        try:
            return self._functions[name](*arguments)
        except (TypeError, KeyError, IndexError, ValueError) as error:
            reason = str(error) if isinstance(error, ValueError) else f"wrong arguments for {name}"
            raise self._fault(f"error calling {name}: {reason}", head[2], name) from None

    def _fault(self, text: str, place: int, at: str) -> TemplateError:
        line = self._text.count("\n", 0, place) + 1
        column = place - (self._text.rfind("\n", 0, place) + 1)
        return TemplateError(f'template: {self._name}:{line}:{column}: executing "{self._name}" at <{at}>: {text}')


def _words(operand: Any) -> str:
    return shown(operand[1]) if operand[0] != "pipe" else operand[2] or "(…)"


def _loosely(value: dict[str, Any], name: str) -> str | None:
    """Go's field names and JSON's keys differ in case at most: .ID is "Id"."""
    return next((key for key in value if key.lower() == name.lower()), None)

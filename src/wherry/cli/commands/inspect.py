"""`inspect`."""

from __future__ import annotations

from wherry.cli.commands import documents
from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse
from wherry.errors import UsageError, WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] NAME|ID [NAME|ID...]"
OPTIONS = (
    Option("explain", kind="bool", help="Say in words and a drawing what isolates a container, and what is not in force"),
    Option("format", "f", help="Format output using a Go template, or 'json'"),
    Option("size", "s", "bool", help="Display total file sizes if the type is container"),
    Option("type", help="Only inspect objects of the given type (container|image|volume)"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="inspect")
    needs_names(context, parsed.words)
    if parsed.type not in ("", "container", "image", "volume"):
        raise UsageError(f'unknown type: "{parsed.type}": must be one of "container", "image", "volume"')
    if parsed.explain:
        return _explain(context, parsed.words)
    missing = f"error: no such {parsed.type or 'object'}: {{}}"
    system = context.engine.system
    return documents.show(context, parsed.words, parsed.format, lambda name: system.inspect_any(name, parsed.type, parsed.size), missing)


def _explain(context: Context, names: list[str]) -> int:
    from wherry.cli.explain import explain

    code = 0
    for number, name in enumerate(names):
        try:
            context.out(("\n" if number else "") + explain(context.engine.containers.inspect(name)))
        except WherryError as error:
            context.fail(error)
            code = 1
    return code

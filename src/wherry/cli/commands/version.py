"""`version`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS]"
OPTIONS = (Option("format", "f", help="Format output using a Go template, or 'json'"),)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="version")
    needs_exactly(context, parsed.words, 0)
    document = context.engine.system.version()
    if parsed.format == "json":
        from wherry.model import jsontext

        context.out(jsontext.dumps(document) + "\n")
    elif parsed.format:
        from wherry.cli.template import compile_template

        context.out(compile_template(parsed.format, name="version")(document) + "\n")
    else:
        client = document["Client"]
        context.out(
            f"Client: wherry\n Version:           {client['Version']}\n API version:       {client['ApiVersion']}\n"
            f" Python version:    {client['PythonVersion']}\n OS/Arch:           {client['Os']}/{client['Arch']}\n"
            "\nServer: none; the engine runs in the command itself\n"
        )
    return 0

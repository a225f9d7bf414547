"""Manual pages (man(7)'s roff) out of the command table and the options."""

from __future__ import annotations

from wherry.cli import table
from wherry.cli.help import global_options
from wherry.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wherry.cli.options import Option

_KINDS = {"bool": "", "maybe": "", "list": "list", "int": "int", "str": "string"}


def pages() -> Iterator[tuple[str, str]]:
    """(file name, text) of every page: the overview, and one for each command."""
    for path in ("", *sorted(path for path, (_module, summary) in table.COMMANDS.items() if summary)):
        text = page(path)
        if text is not None:
            yield f"{_name(path)}.1", text


def page(path: str) -> str | None:
    """The page of a command, "" for the overview; None where there is no such command."""
    if not path:
        return _overview()
    path = table.ALIASES.get(path, path)
    if path not in table.COMMANDS:
        return None
    module, summary = table.COMMANDS[path]
    command = __import__(f"wherry.cli.commands.{module}", fromlist=["OPTIONS"])
    same = [p for p, (m, _s) in table.COMMANDS.items() if m == module and p != path]
    lines = [*_head(path, summary), ".SH SYNOPSIS", f".B wherry {path}", _text(command.USAGE), ".SH DESCRIPTION", _text(summary) + "."]
    if same:
        lines += [".PP", "The same as", ", ".join(f".B wherry {p}"[3:] for p in same) + "."]
    if any(not option.hidden for option in command.OPTIONS):
        lines += [".SH OPTIONS", *_options(command.OPTIONS)]
    return "\n".join([*lines, ".SH SEE ALSO", ".BR wherry (1)"]) + "\n"


def _overview() -> str:
    lines = [*_head("", "a container engine without a daemon and without root"), ".SH SYNOPSIS", ".B wherry", "[OPTIONS] COMMAND"]
    lines += [
        ".SH DESCRIPTION",
        "wherry speaks docker's command line. It runs in the process of the command: nothing has to be started first.",
    ]
    lines += [".SH OPTIONS", *_options(global_options()), ".SH COMMANDS"]
    for path, (_module, summary) in sorted(table.COMMANDS.items()):
        if summary:
            lines += [".TP", f".BR {_name(path).replace('-', chr(92) + '-')} (1)", _text(summary)]
    return "\n".join(lines) + "\n"


def _head(path: str, summary: str) -> list[str]:
    name = _name(path)
    return [f'.TH "{name.upper()}" 1 "" "wherry {VERSION}" "User Commands"', ".SH NAME", f"{name} \\- {_text(summary)}"]


def _name(path: str) -> str:
    return "-".join(["wherry", *path.split()])


def _options(options: Iterable[Option]) -> list[str]:
    lines = []
    for option in sorted(options, key=lambda o: o.name):
        if option.hidden:
            continue
        value = option.placeholder or _KINDS[option.kind]
        names = (f"\\-{option.short}, " if option.short else "") + "\\-\\-" + _text(option.name).replace("-", "\\-")
        lines += [".TP", f"\\fB{names}\\fR" + (f" \\fI{value}\\fR" if value else ""), _text(option.help)]
    return lines


def _text(text: str) -> str:
    """Plain text as roff: no line of it is a request, no backslash an escape."""
    text = text.replace("\\", "\\e")
    return "\\&" + text if text[:1] in (".", "'") else text

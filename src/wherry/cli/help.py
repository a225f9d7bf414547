"""Help out of the table of commands, in docker's form."""

from __future__ import annotations

from wherry.cli import table
from wherry.cli.options import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

_GLOBALS = (
    Option("debug", "D", "bool", help="Print launch plans and tracebacks"),
    Option("log-level", "l", placeholder="string", help='Set the logging level ("debug", "info", "warn", "error", "fatal")'),
    Option("context", "c", placeholder="string", help='Name of the context to use: "default" is the only one'),
    Option("host", "H", placeholder="string", help="There is no daemon to talk to: only an empty one is taken"),
    Option("root", placeholder="string", help="Folder of the store"),
    Option("runroot", placeholder="string", help="Folder of what needn't survive a reboot"),
    Option("storage-driver", placeholder="string", help='Storage driver: "overlay" is the only one'),
    Option("version", "v", "bool", help="Print version information and quit"),
)


# docker's choice and order.
_COMMON = ("run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search", "version", "info")


def overview(context: Context, group: str) -> str:
    """The page of all commands, or of one group's."""
    program = context.program
    lines = [
        f"Usage:  {program} {group + ' ' if group else '[OPTIONS] '}COMMAND",
        "",
        table.GROUPS.get(group, "A container engine without a daemon and without root"),
        "",
    ]
    if group:
        lines += ["Commands:"]
        lines += _aligned(
            [
                (p.split(" ")[1], s)
                for p, (_m, s) in sorted(table.COMMANDS.items())
                if p.startswith(group + " ") and p != "container cleanup"
            ]
        )
    else:
        lines += ["Common Commands:", *_aligned([(p, table.COMMANDS[p][1]) for p in _COMMON if p in table.COMMANDS])]
        lines += ["", "Management Commands:", *_aligned(sorted(table.GROUPS.items())), "", "Commands:"]
        lines += _aligned([(p, s) for p, (_m, s) in sorted(table.COMMANDS.items()) if " " not in p and p not in _COMMON and s])
        lines += ["", "Global Options:", *_options(_GLOBALS)]
    if not group:
        lines += [
            "",
            f"Run '{program} help TOPIC' for concepts: exit-codes, files, formats, health, ids, limits, networks, restart, volumes.",
        ]
    lines += ["", f"Run '{program} {group + ' ' if group else ''}COMMAND --help' for more information on a command."]
    return "\n".join(lines) + "\n"


def command_help(context: Context, path: str) -> str:
    name, summary = table.COMMANDS[path]
    module = __import__(f"wherry.cli.commands.{name}", fromlist=["OPTIONS"])
    lines = [f"Usage:  {context.program} {path} {module.USAGE}", "", summary]
    same = _spellings(name)
    if len(same) > 1:
        lines += ["", "Aliases:", "  " + ", ".join(f"{context.program} {p}" for p in same)]
    shown = tuple(o for o in module.OPTIONS if not o.hidden)
    if shown:
        lines += ["", "Options:", *_options(shown)]
    return "\n".join(lines) + "\n"


def _spellings(module: str) -> list[str]:
    """All ways to write a command: the grouped one, its aliases, then the short one."""
    paths = [p for p, (m, _s) in table.COMMANDS.items() if m == module]
    aliases = [a for a, p in table.ALIASES.items() if p in paths]
    return sorted(p for p in paths if " " in p) + sorted(aliases) + sorted(p for p in paths if " " not in p)


def _options(options: tuple[Option, ...]) -> list[str]:
    rows = []
    for option in sorted(options, key=lambda o: o.name):
        short = f"-{option.short}, " if option.short else "    "
        kind = {"bool": "", "maybe": "", "list": " list", "int": " int", "str": " string"}[option.kind]
        if option.placeholder:
            kind = " " + option.placeholder
        rows.append((f"{short}--{option.name}{kind}", option.help + _default(option)))
    return _aligned(rows)


def _default(option: Option) -> str:
    if not option.default or option.kind == "list":
        return ""
    return f' (default "{option.default}")' if option.kind == "str" else f" (default {str(option.default).lower()})"


def _aligned(rows: list[tuple[str, str]]) -> list[str]:
    width = max((len(left) for left, _right in rows), default=0)
    return [f"  {left:{width}}   {right}".rstrip() for left, right in rows]


def about(context: Context, words: list[str]) -> int:
    """`help`, `help COMMAND`."""
    if not words:
        context.out(overview(context, ""))
        return 0
    path, _count = table.find(words)
    if path:
        context.out(command_help(context, path))
        return 0
    if words[0] in table.GROUPS:
        context.out(overview(context, words[0]))
        return 0
    from wherry.cli.topics import TOPICS

    topic = " ".join(words)
    if topic in TOPICS:
        context.out(TOPICS[topic])
        return 0
    from wherry.cli.options import nearest

    near = nearest(topic, [*table.COMMANDS, *table.GROUPS, *TOPICS])
    context.error(f"unknown help topic: {topic}" + (f"\nDid you mean: {near}?" if near else ""))
    return 1


def global_options() -> tuple[Option, ...]:
    """Those that stand before the command."""
    return _GLOBALS

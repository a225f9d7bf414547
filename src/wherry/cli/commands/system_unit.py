"""`system unit`: a unit for systemd that calls `system boot`."""

from __future__ import annotations

import os
import sys

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = ""
OPTIONS: tuple[Option, ...] = ()

_UNIT = """# {how}
[Unit]
Description=Containers of wherry that should be up
Documentation=man:wherry-system-boot(1)
{after}
[Service]
Type=oneshot
RemainAfterExit=yes
# The containers' monitors go on by themselves: they are not this unit's to end.
KillMode=process
ExecStart={command} system boot

[Install]
WantedBy={target}
"""
_SYSTEM = (
    "wherry system unit > /etc/systemd/system/wherry.service && systemctl enable wherry.service",
    "Wants=network-online.target\nAfter=network-online.target local-fs.target\nRequiresMountsFor={root}\n",
    "multi-user.target",
)
_USER = (
    "wherry system unit > ~/.config/systemd/user/wherry.service && systemctl --user enable wherry.service && loginctl enable-linger",
    "",
    "default.target",
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 0)
    how, after, target = _USER if os.geteuid() else _SYSTEM
    command = _quoted(os.path.realpath(sys.argv[0]))
    for flag, value in (("--root", context.root), ("--runroot", context.runroot)):
        if value:
            command += f" {flag} {_quoted(os.path.abspath(value))}"
    root = context.engine.store.root
    context.out(_UNIT.format(how=how, after=after.format(root=_quoted(root)), command=command, target=target))
    return 0


def _quoted(path: str) -> str:
    """A word of systemd's: a per cent sign begins a specifier, a dollar sign a variable."""
    path = path.replace("%", "%%").replace("$", "$$")
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"' if any(c in path for c in " \t\"'\\") else path

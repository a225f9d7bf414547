"""Write docs/reference/ out of the command table, the options, and the table of settings.

tools/reference.py [--check]      --check: only say whether the pages are up to date (exit 1 when they are not)
"""

from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT / "src"))

from wherry.cli import noeffect, refused, table  # noqa: E402
from wherry.cli.context import Context  # noqa: E402
from wherry.cli.help import command_help, overview  # noqa: E402
from wherry.model import config  # noqa: E402

PLACE = CHECKOUT / "docs/reference"


def commands() -> str:
    """Every command's help, with the flags that are refused or have no effect."""
    context = Context()
    parts = ["# Commands\n", "Made by `tools/reference.py` out of the command table; don't edit.\n", _block(overview(context, ""))]
    seen: set[str] = set()
    for path in sorted(table.COMMANDS):
        module = table.COMMANDS[path][0]
        if module in seen or path == "container cleanup" or not table.COMMANDS[path][1]:
            continue
        seen.add(module)
        parts += [f"## {path}\n", _block(command_help(context, path))]
    parts += ["## Flags of `run` and `create` that are accepted without effect\n", "| flag | why |\n|---|---|"]
    parts += [f"| `--{option.name}` | {why} |" for option, why in noeffect.NO_EFFECT]
    parts += ["\n## Flags that are refused\n", "Flags of docker and podman that are understood and not supported yet.\n"]
    parts += ["| command | flag | instead |\n|---|---|---|"]
    done = set()
    for path, (module, _summary) in table.COMMANDS.items():
        if module not in done and module != "create":
            done.add(module)
            parts += [f"| `{path}` | `{'--' if len(n) > 1 else '-'}{n}` | {why} |" for n, why in sorted(refused.reasons(module).items())]
    parts += ["\n## Commands that are refused\n", "| command | instead |\n|---|---|"]
    parts += [f"| `{name}` | {why} |" for name, why in sorted(table.NOT_YET.items())]
    return "\n".join(parts) + "\n"


def settings() -> str:
    parts = [
        "# Settings\n",
        "Made by `tools/reference.py` out of the table of settings; don't edit.\n",
        "Read from `/etc/wherry/config.toml`, then `$XDG_CONFIG_HOME/wherry/config.toml`, then variables; the later wins, and options of",
        "the command line win over all. `wherry info` shows each value and where it comes from.\n",
        "| key | variable | type | default | meaning |\n|---|---|---|---|---|",
    ]
    for key, (kind, default, meaning) in config.KEYS.items():
        shown = f"`{str(default).lower() if kind is bool else default}`" if default != "" else ""
        parts.append(f"| `{key}` | `WHERRY_{key.upper()}` | {kind.__name__} | {shown} | {meaning} |")
    return "\n".join(parts) + "\n"


def _block(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```\n"


def main() -> int:
    stale = []
    for name, text in (("commands.md", commands()), ("settings.md", settings())):
        path = PLACE / name
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if "--check" in sys.argv and stale:
        print(f"docs/reference: {', '.join(stale)} not up to date: run tools/reference.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

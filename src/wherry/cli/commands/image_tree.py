"""`image tree`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.cli.output import short_id
from wherry.model import sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] IMAGE"
OPTIONS = (Option("whatrequires", kind="bool", help="Show which images end with which layer (always shown)"),)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 1)
    from wherry.engine.image_tree import tree

    found = tree(context.engine, parsed.words[0])
    lines = [
        f"Image ID: {short_id(found.id)}",
        f"Tags:     [{' '.join(found.tags)}]",
        f"Size:     {sizes.human(found.size_bytes, precision=3)} ({sizes.human(found.own_bytes, precision=3)} its own)",
        "Image Layers" if found.layers else "No Image Layers",
    ]
    for at, layer in enumerate(found.layers):
        mark = "└──" if at == len(found.layers) - 1 else "├──"
        line = f"{mark} ID: {short_id(layer.id)} Size: {sizes.human(layer.size_bytes, precision=3):>6}"
        if layer.shared:
            line += f" Shared with: {layer.shared}"
        if layer.top_of:
            line += f" Top Layer of: [{' '.join(layer.top_of)}]"
        lines.append(line)
    context.out("\n".join(lines) + "\n")
    return 0

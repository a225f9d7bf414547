"""`system prune`."""

from __future__ import annotations

from wherry.cli.commands import filters
from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.model import sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS]"
OPTIONS = (
    Option("all", "a", "bool", help="Remove all unused images not just dangling ones"),
    Option("filter", kind="list", check=filters.check, help='Provide filter values (e.g. "label=<key>=<value>")'),
    Option("force", "f", "bool", help="Do not prompt for confirmation"),
    Option("volumes", kind="bool", help="Prune anonymous volumes"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="system_prune")
    needs_exactly(context, parsed.words, 0)
    images = "all images without at least one container associated to them" if parsed.all else "all dangling images"
    volumes = "  - all anonymous volumes not used by at least one container\n" if parsed.volumes else ""
    if not parsed.force and not filters.confirmed(f"WARNING! This will remove:\n  - all stopped containers\n{volumes}  - {images}\n"):
        return 0
    report = context.engine.system.prune(all=parsed.all, volumes=parsed.volumes, filters=filters.parsed(parsed.filter))
    if report["ContainersDeleted"]:
        context.out("Deleted Containers:\n" + "".join(i + "\n" for i in report["ContainersDeleted"]) + "\n")
    if report["VolumesDeleted"]:
        context.out("Deleted Volumes:\n" + "".join(n + "\n" for n in report["VolumesDeleted"]) + "\n")
    if report["ImagesDeleted"]:
        context.out("Deleted Images:\n" + "".join(f"{kind.lower()}: {name}\n" for kind, name in report["ImagesDeleted"]) + "\n")
    context.out(f"Total reclaimed space: {sizes.human(report['SpaceReclaimed'])}\n")
    return 0

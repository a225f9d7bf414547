"""`commit`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_at_most, needs_names
from wherry.cli.options import Option, parse
from wherry.errors import InvalidArgument, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]"
OPTIONS = (
    Option("author", "a", help='Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")'),
    Option("change", "c", "list", help="Apply Dockerfile instruction to the created image"),
    Option("format", "f", default="oci", help='Form in which the image is pushed by default ("oci" or "docker")', hidden=True),
    Option("iidfile", help="Write the image ID to the file"),
    Option("include-volumes", kind="bool", help="Make the targets of the container's mounts volumes of the image"),
    Option("message", "m", help="Commit message"),
    Option("no-pause", kind="bool", help="Don't pause the container while its files are read"),
    Option("pause", "p", "bool", default=True, help="Pause the container while its files are read"),
    Option("quiet", "q", "bool", help="Print nothing but the ID (there is nothing else)"),
    Option("squash", "s", "bool", help="Make one layer of everything that the container has"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_names(context, parsed.words)
    needs_at_most(context, parsed.words, 2)
    if parsed.format not in ("oci", "docker"):
        raise UsageError(f'unrecognized image format "{parsed.format}"', hint="oci and docker are known")
    name = parsed.words[1] if len(parsed.words) == 2 else ""
    if name:
        from wherry.model import reference

        try:
            reference.parse(name)
        except InvalidArgument as error:
            raise UsageError(error.message) from None
    from wherry.engine.commit import CommitRequest

    image_id = context.engine.containers.commit(
        parsed.words[0],
        CommitRequest(
            name,
            author=parsed.author,
            message=parsed.message,
            changes=tuple(parsed.change),
            pause=parsed.pause and not parsed.no_pause,
            squash=parsed.squash,
            include_volumes=parsed.include_volumes,
        ),
    )
    if parsed.iidfile:
        with open(parsed.iidfile, "w", encoding="ascii") as file:
            file.write(image_id)
    context.out(image_id + "\n")
    return 0

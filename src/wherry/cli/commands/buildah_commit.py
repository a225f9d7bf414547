"""`buildah commit`."""

from __future__ import annotations

from wherry.cli.commands import progress, transfer_options
from wherry.cli.commands.several import needs_at_most, needs_names
from wherry.cli.options import Option, parse
from wherry.errors import Unsupported, UsageError
from wherry.model.numbers import parse_int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER [IMAGE]"
OPTIONS = (
    *transfer_options.OPTIONS,
    Option(
        "disable-compression", "D", "bool", default=True, help="Don't compress layers (nothing is compressed before a push)", hidden=True
    ),
    Option("format", "f", default="oci", help='Form of the manifest when it is sent on ("oci", "docker")'),
    Option("iidfile", help="Write the image ID to the file"),
    Option("omit-history", kind="bool", help="Leave the history out of the image"),
    Option("quiet", "q", "bool", help="Show no progress"),
    Option("rm", kind="bool", help="Remove the container afterwards"),
    Option("squash", kind="bool", help="Make one layer of everything"),
    Option("source-date-epoch", help="Time that the image says, in seconds"),
    Option("timestamp", help="Time that the image says, in seconds"),
)
_LATER = {
    **dict.fromkeys("sign-by encrypt-layer encryption-key cw".split(), "not supported"),
    **dict.fromkeys("manifest".split(), "use `manifest add` afterwards"),
    **dict.fromkeys(
        "add-file annotation unsetannotation change config unsetenv".split(), "use `buildah copy` and `buildah config` before it"
    ),
}
_FOLDERS = {"oci": "oci-dir", "dir": "docker-dir"}
_ARCHIVES = ("docker-archive", "oci-archive")


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later=_LATER)
    needs_names(context, parsed.words)
    needs_at_most(context, parsed.words, 2)
    if parsed.format not in ("oci", "docker"):
        raise UsageError(f'unrecognized image type "{parsed.format}"')
    target = parsed.words[1] if len(parsed.words) == 2 else ""
    transport, rest = _transport(target)
    name = rest if transport in ("", "docker") else ""
    seconds = parsed.timestamp or parsed.source_date_epoch
    from wherry.engine import working

    one = working.Working(context.engine, parsed.words[0])
    created_ns = parse_int(seconds) * 1_000_000_000 if seconds else -1
    image_id = one.commit(name, squash=parsed.squash, created_ns=created_ns, omit_history=parsed.omit_history)
    if transport == "docker":
        from wherry.engine.transfer_push import PushWishes

        manifest = "oci" if parsed.format == "oci" else "v2s2"
        wishes = PushWishes(access=transfer_options.access(parsed), manifest_format=manifest)
        context.engine.images.push(name, wishes=wishes, progress=None if parsed.quiet else progress.shown(2))
    elif transport:
        path, _, tag = rest.partition(":")
        if tag:
            context.engine.images.tag(image_id, tag)
        context.engine.images.save([tag or image_id], path, format=_FOLDERS.get(transport, transport), compress=False, uncompressed=False)
    if parsed.rm:
        working.remove(context.engine, one.row.id)
    if parsed.iidfile:
        with open(parsed.iidfile, "w", encoding="ascii") as file:
            file.write(image_id)
    else:
        context.out(image_id.removeprefix("sha256:") + "\n")
    return 0


def _transport(target: str) -> tuple[str, str]:
    transport, colon, rest = target.partition(":")
    if colon and transport in ("docker", "containers-storage"):
        return ("docker", rest.removeprefix("//")) if transport == "docker" else ("", rest)
    if colon and transport in (*_FOLDERS, *_ARCHIVES):
        return transport, rest
    if colon and transport == "docker-daemon":
        raise Unsupported("committing to docker-daemon: is not supported", hint="use docker-archive:FILE and `docker load`")
    return "", target

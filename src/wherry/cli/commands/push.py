"""`push`."""

from __future__ import annotations

from wherry.cli.commands import progress, transfer_options
from wherry.cli.commands.several import needs_at_most, needs_names
from wherry.cli.options import Option, parse
from wherry.engine.transfer_push import UPLOADS, PushWishes
from wherry.errors import Unsupported
from wherry.model import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] NAME[:TAG] [DESTINATION]"
OPTIONS = (
    *transfer_options.OPTIONS,
    Option("all-tags", "a", "bool", help="Push all tags of an image to the repository"),
    Option("compression-format", help='How to compress layers ("gzip", "zstd", "uncompressed")'),
    Option("compression-level", kind="int", help="How hard to compress"),
    Option("digestfile", help="Write the digest of the pushed image to a file"),
    Option("force-compression", kind="bool", help="Compress layers anew that were compressed otherwise"),
    Option("format", "f", help='Form of the manifest ("oci", "v2s2"); else as the image came'),
    Option("max-concurrent-uploads", kind="int", default=UPLOADS, help="Layers to send at once"),
    Option("platform", help="Push a platform-specific manifest (images here have one platform)"),
    Option("quiet", "q", "bool", help="Suppress verbose output"),
    Option("remove-signatures", kind="bool", help="Don't push signatures (there are none)", hidden=True),
)
_LATER = {
    "sign-by": "signatures are not supported yet",
    "sign-by-sigstore": "signatures are not supported yet",
    "sign-by-sigstore-private-key": "signatures are not supported yet",
    "encryption-key": "",
    "encrypt-layer": "",
}


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later=_LATER)
    needs_names(context, parsed.words)
    needs_at_most(context, parsed.words, 1 if parsed.all_tags else 2)
    name, source = parsed.words[0], ""
    if len(parsed.words) == 2:
        name, source = _destination(parsed.words[1]), name
    ref = reference.parse(name)
    wishes = PushWishes(
        access=transfer_options.access(parsed),
        compression=parsed.compression_format,
        level=parsed.compression_level if "compression-level" in parsed.given else None,
        force_compression=parsed.force_compression,
        manifest_format=parsed.format,
        uploads=max(1, parsed.max_concurrent_uploads),
    )
    show = None if parsed.quiet else progress.shown(1)
    if parsed.all_tags:
        done = context.engine.images.push_all(name, wishes=wishes, progress=show)
    else:
        if not ref.tag and not ref.digest and not parsed.quiet:
            context.out("Using default tag: latest\n")
        done = [context.engine.images.push(name, wishes=wishes, progress=show, source=source)]
    if parsed.quiet:
        context.out("".join(one.name + "\n" for one in done))
    if parsed.digestfile:
        with open(parsed.digestfile, "w", encoding="ascii") as file:
            file.write(done[-1].digest)
    return 0


def _destination(text: str) -> str:
    """podman's second word: a name with or without its transport. Raises Unsupported."""
    transport, colon, rest = text.partition(":")
    if colon and transport in ("docker-archive", "oci-archive", "oci", "dir", "docker-daemon", "containers-storage"):
        raise Unsupported(f"push to {transport}: is not supported yet", hint="use `save`, which writes archives and folders")
    return rest.removeprefix("//") if colon and transport == "docker" else text

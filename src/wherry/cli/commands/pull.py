"""`pull`."""

from __future__ import annotations

from wherry.cli.commands import progress, transfer_options
from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse
from wherry.engine.transfer_pull import DOWNLOADS, Wishes
from wherry.errors import UsageError, WherryError
from wherry.model import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context
    from wherry.cli.options import Parsed

USAGE = "[OPTIONS] NAME[:TAG|@DIGEST]"
OPTIONS = (
    *transfer_options.OPTIONS,
    Option("all-tags", "a", "bool", help="Download all tagged images in the repository"),
    Option("arch", help="Architecture in the place of this machine's"),
    Option("max-concurrent-downloads", kind="int", default=DOWNLOADS, help="Layers to fetch at once"),
    Option("os", help="System in the place of this machine's"),
    Option("platform", help="Set platform if server is multi-platform capable"),
    Option("policy", default="always", help='When to pull ("always", "missing", "never", "newer")'),
    Option("quiet", "q", "bool", help="Suppress verbose output"),
    Option("variant", help="Variant of the architecture"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_names(context, parsed.words)
    if parsed.policy not in ("always", "missing", "never", "newer", "ifnewer", "ifmissing"):
        raise UsageError(f'unsupported pull policy "{parsed.policy}"')
    wishes = Wishes(platform=platform(parsed), downloads=parsed.max_concurrent_downloads, access=transfer_options.access(parsed))
    code = 0
    for name in parsed.words:
        try:
            _pull(context, parsed, name, wishes)
        except WherryError as error:
            if len(parsed.words) == 1:
                raise
            context.fail(error)
            code = 1
    return code


def _pull(context: Context, parsed: Parsed, name: str, wishes: Wishes) -> None:
    ref = reference.parse(name.removeprefix("docker://"))
    show = None if parsed.quiet else progress.shown(1)
    if parsed.all_tags:
        for one in context.engine.images.pull_all(ref.canonical, wishes=wishes, progress=show):
            if parsed.quiet:
                context.out(one.name + "\n")
        if not parsed.quiet:
            context.out(ref.canonical + "\n")
        return
    if parsed.policy in ("missing", "never", "ifmissing"):
        from wherry.engine.registry import ensure

        context.out(ensure(context.engine, name, parsed.policy.removeprefix("if"), wishes=wishes, progress=show) + "\n")
        return
    if not ref.tag and not ref.digest and not parsed.quiet:
        context.out("Using default tag: latest\n")
    found = context.engine.images.pull(name.removeprefix("docker://"), wishes=wishes, progress=show)
    context.out(found.name + "\n")


def platform(parsed: Parsed) -> str:
    """--platform, or podman's --os, --arch and --variant."""
    if parsed.platform or not (parsed.os or parsed.arch or parsed.variant):
        return str(parsed.platform)
    from wherry.engine.transfer import host_platform

    own_os, own_arch = host_platform()
    return "/".join(p for p in (parsed.os or own_os, parsed.arch or own_arch, parsed.variant) if p)

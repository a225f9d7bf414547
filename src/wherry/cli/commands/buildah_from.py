"""`buildah from`."""

from __future__ import annotations

from wherry.cli.commands import transfer_options
from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] IMAGE|scratch"
OPTIONS = (
    *transfer_options.OPTIONS,
    Option("arch", help="Choose an image of this architecture"),
    Option("cidfile", help="Write the container's ID to the file"),
    Option("format", "f", help="Form in which the image will be pushed", hidden=True),
    Option("isolation", help="How commands are run (there is one way)", hidden=True),
    Option("name", help="Name of the working container"),
    Option("os", help="Choose an image of this operating system", hidden=True),
    Option("platform", help="Choose an image of this platform"),
    Option("pull", default="missing", placeholder="policy", help='When to pull the image ("always", "missing", "never", "newer")'),
    Option("pull-always", kind="bool", hidden=True),
    Option("pull-never", kind="bool", hidden=True),
    Option("quiet", "q", "bool", help="Show no progress"),
    Option("variant", hidden=True),
)
_LIMITS = "give them to `buildah run`, or build with a Dockerfile"
_LATER = dict.fromkeys(
    "add-host cap-add cap-drop cgroup-parent cgroupns cpu-period cpu-quota cpu-shares c cpuset-cpus cpuset-mems device dns dns-option dns-search "
    "group-add http-proxy ipc memory m memory-swap network pid security-opt shm-size ulimit userns userns-gid-map userns-gid-map-group "
    "userns-uid-map userns-uid-map-user uts volume v decryption-key".split(),
    _LIMITS,
)
_POLICIES = {
    "true": "missing",
    "ifmissing": "missing",
    "missing": "missing",
    "always": "always",
    "never": "never",
    "false": "missing",
    "newer": "newer",
    "ifnewer": "newer",
}


def run(context: Context, words: list[str]) -> int:
    # --pull may stand alone.
    parsed = parse(OPTIONS, ["--pull=true" if word == "--pull" else word for word in words], later=_LATER)
    needs_exactly(context, parsed.words, 1)
    policy = "always" if parsed.pull_always else "never" if parsed.pull_never else _POLICIES.get(parsed.pull.lower(), "")
    if not policy:
        raise UsageError(f'unrecognized pull policy "{parsed.pull}"')
    image = parsed.words[0]
    for prefix in ("docker://", "containers-storage:"):
        image = image.removeprefix(prefix)
    platform = parsed.platform or (f"{parsed.os or 'linux'}/{parsed.arch}" if parsed.arch else "")
    from wherry.engine import working

    if image != working.SCRATCH:
        from wherry.engine.registry import ensure
        from wherry.engine.transfer_pull import Wishes

        progress = None if parsed.quiet else context.engine.progress
        wishes = Wishes(platform=platform, access=transfer_options.access(parsed))
        ensure(context.engine, image, policy, wishes=wishes, progress=progress)
    found = working.from_image(context.engine, image, name=parsed.name, pull="never")
    if parsed.cidfile:
        with open(parsed.cidfile, "x", encoding="ascii") as file:
            file.write(found.row.id)
    context.out(found.row.name + "\n")
    return 0

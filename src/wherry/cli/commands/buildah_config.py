"""`buildah config`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER"
OPTIONS = (
    Option("add-history", kind="bool", help="Add entries for the changes to the image's history"),
    Option("annotation", "a", "list", help='Add an annotation (key=value), or take it away ("key-")'),
    Option("arch", help="Architecture of the image"),
    Option("author", help="Author of the image"),
    Option("cmd", help="Default command"),
    Option("comment", help="Comment of the image"),
    Option("created-by", help="Description of how the image was made"),
    Option("domainname", help="Domain name of containers"),
    Option("entrypoint", help="Entry point: a JSON array, or words for a shell"),
    Option("env", "e", "list", help='Set an environment variable (KEY=value), or take it away ("KEY-")'),
    Option("healthcheck", help="Health check (CMD command, CMD-SHELL words, NONE)"),
    Option("healthcheck-interval", help="Time between checks"),
    Option("healthcheck-retries", help="Failures until it counts as unhealthy"),
    Option("healthcheck-start-interval", help="Time between checks at the start"),
    Option("healthcheck-start-period", help="Time during which failures don't count"),
    Option("healthcheck-timeout", help="Time after which a check counts as failed"),
    Option("history-comment", help="Comment of the image's last entry of history"),
    Option("hostname", help="Host name of containers"),
    Option("label", "l", "list", help='Add a label (key=value), or take it away ("key-")'),
    Option("onbuild", kind="list", help="Instruction to run when the image is used as a base"),
    Option("os", help="Operating system of the image"),
    Option("os-feature", kind="list", help="Feature of the operating system"),
    Option("os-version", help="Version of the operating system"),
    Option("port", "p", "list", help="Port that containers listen on"),
    Option("shell", help="Shell for commands"),
    Option("stop-signal", help="Signal that ends containers"),
    Option("unsetannotation", kind="list", help="Take an annotation away"),
    Option("unsetlabel", kind="list", help="Take a label away"),
    Option("user", "u", help="User that containers run as"),
    Option("variant", help="Variant of the architecture"),
    Option("volume", "v", "list", help="Volume of containers"),
    Option("workingdir", help="Working folder of containers"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 1)
    from wherry.engine import working_config
    from wherry.engine.working import Working

    given = [name.replace("-", "_") for name in sorted(parsed.given) if name != "add-history"]
    ordered = [*(name for name in working_config.ORDER if name in given), *(n for n in given if n not in working_config.ORDER)]
    working = Working(context.engine, parsed.words[0])
    if parsed.add_history:
        for name in ordered:
            working.note(f"/bin/sh -c #(nop) {name.upper()} {getattr(parsed, name)}")
    working_config.change(working, {name: getattr(parsed, name) for name in ordered})
    return 0

"""`buildah containers`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.cli.output import short_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS]"
OPTIONS = (
    Option("all", "a", "bool", help="Also show containers that run made"),
    Option("filter", "f", "list", help='Show those only that match ("id=…", "name=…", "ancestor=…")'),
    Option("format", help="A Go template for each"),
    Option("json", kind="bool", help="Print as JSON"),
    Option("noheading", "n", "bool", help="Leave the heading out"),
    Option("notruncate", kind="bool", help="Don't cut IDs"),
    Option("quiet", "q", "bool", help="Show IDs only"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 0)
    from wherry.engine import working

    rows = []
    for one in working.everything(context.engine):
        rows.append(("*", one.id, one.image_id, one.image_name, one.name))
    if parsed.all:
        for other in context.engine.containers.list(all=True):
            rows.append((" ", other.id, other.image_id, other.image, other.names[0]))
    for text in parsed.filter:
        key, _, value = text.partition("=")
        rows = [r for r in rows if (r[1].startswith(value) if key == "id" else value in (r[4] if key == "name" else r[3]))]
    if parsed.json:
        from wherry.model import jsontext

        found = [
            {"id": i, "builder": b == "*", "imageid": m.removeprefix("sha256:"), "imagename": n or "scratch", "containername": c}
            for b, i, m, n, c in rows
        ]
        context.out(jsontext.dumps(found, indent=4) + "\n")
        return 0
    if parsed.quiet:
        context.out("".join((i if parsed.notruncate else i[:12]) + "\n" for _b, i, _m, _n, _c in rows))
        return 0
    if parsed.format:
        from wherry.cli.template import compile_template

        render = compile_template(parsed.format)
        for b, i, m, n, c in rows:
            fields = {"ContainerID": i, "Builder": b, "ImageID": m.removeprefix("sha256:"), "ImageName": n or "scratch", "ContainerName": c}
            context.out(render(fields) + "\n")
        return 0
    lines = []
    if not parsed.noheading:
        lines.append(f"{'CONTAINER ID':<13} {'BUILDER':<7}  {'IMAGE ID':<12} {'IMAGE NAME':<32} {'CONTAINER NAME'}")
    for b, i, m, n, c in rows:
        cid, mid = (i, m.removeprefix("sha256:")) if parsed.notruncate else (i[:12], short_id(m))
        lines.append(f"{cid:<13} {'   ' + b + '   ':<7}  {mid:<12} {n or 'scratch':<32} {c}")
    context.out("".join(line.rstrip() + "\n" for line in lines))
    return 0

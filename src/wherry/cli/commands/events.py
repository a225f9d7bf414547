"""`events`."""

from __future__ import annotations

import time

from wherry.cli.commands import filters
from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.model import jsontext, times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.context import Context

USAGE = "[OPTIONS]"
OPTIONS = (
    Option("filter", "f", "list", check=filters.check, help="Filter output based on conditions provided"),
    Option("format", help="Format output using a Go template, or 'json'"),
    Option("since", help="Show all events created since timestamp"),
    Option("stream", kind="bool", default=True, help="Go on with what happens; with =false end after what was"),
    Option("until", help="Stream events until this timestamp"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="events")
    needs_exactly(context, parsed.words, 0)
    template = None
    if parsed.format and parsed.format != "json":
        from wherry.cli.template import compile_template

        template = compile_template(parsed.format)
    now = time.time_ns()
    found = context.engine.system.events(
        since_ns=times.parse_since(parsed.since, now) if parsed.since else None if parsed.stream else 0,
        until_ns=times.parse_since(parsed.until, now) if parsed.until else None,
        filters=filters.parsed(parsed.filter),
        follow=parsed.stream,
    )
    for event in found:
        if template is not None:
            context.out(template(_fields(event)) + "\n")
        elif parsed.format:
            context.out(jsontext.dumps(event) + "\n")
        else:
            context.out(_line(event))
    return 0


def _fields(event: dict[str, Any]) -> dict[str, Any]:
    """The names of Go's fields beside those of JSON's keys."""
    return event | {
        "Status": event.get("status", ""),
        "ID": event.get("id", ""),
        "From": event.get("from", ""),
        "Scope": event.get("scope", ""),
        "Time": event.get("time", 0),
        "TimeNano": event.get("timeNano", 0),
    }


def _line(event: dict[str, Any]) -> str:
    """docker's line: time with nine digits and the zone, type, action, actor, attributes in order."""
    at = int(event.get("timeNano") or 0)
    local = time.localtime(at // 1_000_000_000)
    zone = time.strftime("%z", local)
    stamp = (
        time.strftime("%Y-%m-%dT%H:%M:%S", local) + f".{at % 1_000_000_000:09d}" + ("Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}")
    )
    attributes = event["Actor"].get("Attributes") or {}
    listed = ", ".join(f"{key}={attributes[key]}" for key in sorted(attributes))
    text = f"{stamp} {event['Type']} {event['Action']} {event['Actor']['ID']}" + (f" ({listed})" if listed else "")
    return "".join(c if c.isprintable() else " " for c in text) + "\n"

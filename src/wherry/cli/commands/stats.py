"""`stats`."""

from __future__ import annotations

import os

from wherry.cli.options import Option, parse
from wherry.cli.output import table
from wherry.errors import UsageError
from wherry.model import sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.context import Context
    from wherry.engine.stats import Usage

USAGE = "[OPTIONS] [CONTAINER...]"


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise UsageError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    if not 0.05 <= seconds <= 86400:
        raise UsageError("say between 0.05 and 86400 seconds")
    return seconds


OPTIONS = (
    Option("all", "a", "bool", help="Show all containers (default shows just running)"),
    Option("format", help="Format output using a Go template, 'table', 'table TEMPLATE' or 'json'"),
    Option("interval", "i", placeholder="seconds", default=1.0, check=_interval, help="Time between two looks"),
    Option("no-reset", kind="bool", help="Don't clear the screen between two looks"),
    Option("no-stream", kind="bool", help="Disable streaming stats and only pull the first result"),
    Option("no-trunc", kind="bool", help="Do not truncate output"),
    Option("pressure", kind="bool", help="Show who waited (PSI), was throttled or killed instead of the usual columns"),
)
_HEADERS: dict[str, Any] = {
    "ID": "CONTAINER ID",
    "Container": "CONTAINER",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
    "CPUPressure": "CPU PRESSURE",
    "MemPressure": "MEM PRESSURE",
    "IOPressure": "I/O PRESSURE",
    "Throttled": "THROTTLED",
    "OOMKills": "OOM KILLS",
}
_USUAL = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
_PRESSURE = ("ID", "Name", "CPUPerc", "CPUPressure", "MemPressure", "IOPressure", "Throttled", "OOMKills", "PIDs")
# What docker's `--format json` has.
_JSON = ("BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs")


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="stats")
    looks = context.engine.containers.stats(parsed.words, all=parsed.all, stream=not parsed.no_stream, interval_s=parsed.interval)
    redraw = not parsed.no_stream and not parsed.no_reset and os.isatty(1)
    keys = _PRESSURE if parsed.pressure else _USUAL
    for found in looks:
        rows = [_fields(usage, parsed.no_trunc) for usage in found]
        if parsed.format and parsed.format != "table":
            from wherry.cli.template import list_output

            if parsed.format == "json":
                rows = [{key: row[key] for key in _JSON} for row in rows]
            text = list_output(parsed.format, _HEADERS, rows)
        else:
            text = table([[_HEADERS[k] for k in keys], *([row[k] for k in keys] for row in rows)])
        if redraw:
            # Home, each line to its end, then what is below: no flicker.
            text = "\033[H" + text.replace("\n", "\033[K\n") + "\033[J"
        context.out(text)
    return 0


def _fields(usage: Usage, whole: bool) -> dict[str, str]:
    ident = usage.id if whole else usage.id[:12]
    sample = usage.sample
    if sample is None:
        return dict.fromkeys(_HEADERS, "--") | {"ID": ident, "Container": ident, "Name": usage.name} | {
            "MemUsage": "-- / --", "NetIO": "--", "BlockIO": "--"
        }  # fmt: skip
    return {
        "ID": ident,
        "Container": ident,
        "Name": usage.name,
        "CPUPerc": f"{usage.cpu_percent:.2f}%",
        "MemUsage": f"{_binary(sample.memory)} / {_binary(sample.memory_limit)}",
        "MemPerc": f"{sample.memory / sample.memory_limit * 100:.2f}%" if sample.memory >= 0 and sample.memory_limit > 0 else "--",
        "NetIO": f"{_decimal(sample.received)} / {_decimal(sample.sent)}",
        "BlockIO": f"{_decimal(sample.read)} / {_decimal(sample.written)}",
        "PIDs": str(sample.pids) if sample.pids >= 0 else "--",
        "CPUPressure": _percent(sample.cpu_pressure),
        "MemPressure": _percent(sample.memory_pressure),
        "IOPressure": _percent(sample.io_pressure),
        "Throttled": f"{sample.throttled_ns / 1e9:.2f}s" if sample.throttled_ns >= 0 else "--",
        "OOMKills": str(sample.oom_kills) if sample.oom_kills >= 0 else "--",
    }


def _binary(size: int) -> str:
    return sizes.human_binary(size) if size >= 0 else "--"


def _decimal(size: int) -> str:
    return sizes.human(size, precision=3) if size >= 0 else "--"


def _percent(value: float) -> str:
    return f"{value:.2f}%" if value >= 0 else "--"

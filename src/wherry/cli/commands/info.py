"""`info`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.model import jsontext, sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.context import Context

USAGE = "[OPTIONS]"
OPTIONS = (Option("format", "f", help="Format output using a Go template, or 'json'"),)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="info")
    needs_exactly(context, parsed.words, 0)
    document = context.engine.system.info()
    if parsed.format == "json":
        context.out(jsontext.dumps(document) + "\n")
    elif parsed.format:
        from wherry.cli.template import compile_template

        context.out(compile_template(parsed.format)(document) + "\n")
    else:
        context.out(_text(document))
    return 0


def _text(info: dict[str, Any]) -> str:
    own = info["Wherry"]
    namespace = own["UserNamespace"]
    lines = [
        f"Containers: {info['Containers']}",
        f" Running: {info['ContainersRunning']}",
        f" Paused: {info['ContainersPaused']}",
        f" Stopped: {info['ContainersStopped']}",
        f"Images: {info['Images']}",
        f"Server Version: {info['ServerVersion']}",
        f"Storage Driver: {info['Driver']}",
        *(f" {key}: {value}" for key, value in info["DriverStatus"]),
        f"Logging Driver: {info['LoggingDriver']}",
        f"Cgroup Driver: {info['CgroupDriver']}",
        f"Cgroup Version: {info['CgroupVersion']}",
        "Security Options:",
        *(f" {option.removeprefix('name=')}" for option in info["SecurityOptions"]),
        f"Kernel Version: {info['KernelVersion']}",
        f"Operating System: {info['OperatingSystem']}",
        f"OSType: {info['OSType']}",
        f"Architecture: {info['Architecture']}",
        f"CPUs: {info['NCPU']}",
        f"Total Memory: {sizes.human_binary(info['MemTotal'])}",
        f"Name: {info['Name']}",
        f"Root Dir: {info['DockerRootDir']}",
        f"Run Root: {own['RunRoot']}",
        f"User Namespace: {namespace['Mode']}",
        f" {namespace['Meaning']}",
        *(f" {label}: {a} {b} {c}" for label, key in (("uid", "UidMap"), ("gid", "GidMap")) for a, b, c in namespace[key]),
        *([f" Obstacle: {namespace['Obstacle']}"] if namespace.get("Obstacle") else []),
        "What containers stand on here:",
        *(f" {r['Name']}: {r['State']}: {r['Found']}" + (f"\n  to mend it: {r['Remedy']}" if r["Remedy"] else "") for r in own["Ladder"]),
        "Settings:",
        *(f" {key}: {setting['Value'] or '-'} ({setting['Origin']})" for key, setting in own["Settings"].items()),
    ]
    lines += [f"WARNING: {text}" for text in info["Warnings"] or ()]
    return "\n".join(lines) + "\n"

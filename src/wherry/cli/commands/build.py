"""`build`."""

from __future__ import annotations

import os

from wherry.cli import build_options
from wherry.cli.build_options import OPTIONS as OPTIONS
from wherry.cli.build_progress import Plain
from wherry.cli.context import write
from wherry.cli.options import Parsed, parse
from wherry.errors import BuildError, InvalidArgument, LaunchError, Unsupported, UsageError, WherryError
from wherry.model import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context
    from wherry.engine.build import BuildRequest, BuildResult

USAGE = "[OPTIONS] PATH | URL | -"


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="build")
    if len(parsed.words) != 1:
        raise UsageError(f"'{context.path}' requires 1 argument")
    if parsed.progress not in ("auto", "plain", "quiet", "none"):
        known = parsed.progress in ("tty", "rawjson")
        raise (Unsupported if known else UsageError)(f"--progress {parsed.progress}: use plain or quiet")
    request = build_options.request(parsed)
    if parsed.check or parsed.call not in ("", "build"):
        return _call(context, "check" if parsed.check else parsed.call, request)
    quiet = parsed.quiet or parsed.progress in ("quiet", "none")
    try:
        result = context.engine.build.build(request, None if quiet else Plain(_say))
    except (BuildError, LaunchError) as error:
        return _failed(error)
    if result.findings and not quiet:
        from wherry.cli.build_call import summary

        _say(summary(result.findings))
    _write_results(context, parsed, result)
    return 0


def _call(context: Context, text: str, request: BuildRequest) -> int:
    """--call NAME[,format=json]: tell of the Dockerfile instead of building it."""
    from wherry.cli import build_call

    words = dict(part.partition("=")[::2] for part in text.split(",")[1:])
    name, form = text.split(",")[0].removeprefix("subrequests."), words.pop("format", "text")
    if words or form not in ("text", "json") or name not in ("check", "lint", "outline", "targets"):
        raise UsageError(f"invalid --call {text!r}: it is check, outline or targets, and ,format=json behind it")
    survey = context.engine.build.survey(request)
    json = form == "json"
    try:
        if name == "outline":
            outline = survey.outline()
            context.out(build_call.outline_json(outline) if json else build_call.outline_text(outline))
            return 0
        if name == "targets":
            targets = survey.targets()
            context.out(build_call.targets_json(targets) if json else build_call.targets_text(targets))
            return 0
        report = survey.check()
    except BuildError as error:
        return _failed(error)
    context.out(build_call.check_json(report) if json else build_call.check_text(report))
    return 1 if report.findings else 0


def _say(text: str) -> None:
    write(2, os.fsencode(text))


def _failed(error: WherryError) -> int:
    """docker's order: the end of the step's output, the lines of the Dockerfile, the error."""
    text = ""
    log, excerpt = getattr(error, "log", ""), getattr(error, "excerpt", "")
    if log:
        text += f"------\n{log}------\n"
    if excerpt:
        text += excerpt
    text += f"ERROR: failed to build: failed to solve: {error.message}\n"
    if error.hint:
        text += error.hint + "\n"
    _say(("\n" if log else "") + text)
    return 1


def _write_results(context: Context, parsed: Parsed, result: BuildResult) -> None:
    if parsed.iidfile:
        _write(parsed.iidfile, result.image_id)
    if parsed.metadata_file:
        found: dict[str, str] = {}
        if result.image_id:
            found = {"containerimage.config.digest": result.image_id, "containerimage.digest": result.image_id}
        if result.names:
            found["image.name"] = ",".join(result.names)
        _write(parsed.metadata_file, jsontext.dumps(found, indent=2) + "\n")
    if parsed.quiet and result.image_id:
        context.out(result.image_id + "\n")


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise InvalidArgument(f"open {path}: {os.strerror(error.errno or 0).lower()}") from error

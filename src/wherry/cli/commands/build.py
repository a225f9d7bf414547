"""`build`."""

from __future__ import annotations

import os

from wherry.cli import build_options
from wherry.cli.build_options import OPTIONS as OPTIONS
from wherry.cli.build_progress import Plain
from wherry.cli.context import write
from wherry.cli.options import Parsed, parse
from wherry.errors import BuildError, InvalidArgument, LaunchError, UsageError, WherryError
from wherry.model import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.cli.context import Context
    from wherry.engine.build import BuildRequest, BuildResult

USAGE = "[OPTIONS] PATH | URL | -"


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="build")
    if len(parsed.words) != 1:
        raise UsageError(f"'{context.path}' requires 1 argument")
    if parsed.progress not in ("auto", "plain", "quiet", "none", "tty", "rawjson"):
        raise UsageError(f'invalid argument "{parsed.progress}" for "--progress" flag: it is auto, plain, tty, rawjson or quiet')
    request = build_options.request(parsed)
    if parsed.check or parsed.call not in ("", "build"):
        return _call(context, "check" if parsed.check else parsed.call, request)
    quiet = parsed.quiet or parsed.progress in ("quiet", "none")
    try:
        with _log(parsed.logfile) as say:
            result = _shown(context, request, _display(parsed, say, quiet))
    except (BuildError, LaunchError) as error:
        code = _failed(error)
        failed_image = getattr(error, "image", "")
        return _shell(context, failed_image) if failed_image else code
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


def _shown(context: Context, request: BuildRequest, display: Any) -> BuildResult:
    failed = True
    try:
        result = context.engine.build.build(request, display)
        failed = False
        return result
    finally:
        if display is not None:
            display.close(failed=failed)


class _log:
    """Where progress goes: standard error, or the file of --logfile."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> Callable[[str], None]:
        if not self._path:
            return _say
        try:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise InvalidArgument(f"open {self._path}: {os.strerror(error.errno or 0).lower()}") from error
        return lambda text: write(self._fd, os.fsencode(text))

    def __exit__(self, *_error: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def _display(parsed: Parsed, say: Callable[[str], None], quiet: bool) -> Any:
    """The graph on a terminal, lines elsewhere."""
    if quiet:
        return None
    kind = parsed.progress
    if kind == "rawjson":
        from wherry.cli.build_rawjson import RawJson

        return RawJson(say)
    if kind == "tty" and not os.isatty(2):
        raise UsageError("failed to get console: standard error is no terminal", hint="use --progress plain")
    if kind == "tty" or kind == "auto" and os.isatty(2) and os.environ.get("TERM") != "dumb" and not parsed.logfile:
        from wherry.cli.build_graph import Graph

        return Graph()
    return Plain(say)


def _shell(context: Context, image: str) -> int:
    """--on-error=shell: look around in the root of the step that failed; it goes when the shell ends."""
    from wherry.cli.commands import run

    _say("The root of the failed step, as it is (end with exit):\n")
    interactive = os.isatty(0) and os.isatty(1)
    words = ["--rm", "-i", *(["-t"] if interactive else []), "--network", "host", "--entrypoint", "", image, "/bin/sh"]
    try:
        run.run(context, words)
    finally:
        context.engine.images.remove(image, force=True)
    return 1


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
        found: dict[str, object] = {}
        if result.image_id:
            system, _, architecture = result.platform.partition("/")
            place = {"architecture": architecture.partition("/")[0], "os": system}
            described = {"mediaType": result.media_type, "digest": result.digest, "size": result.size, "platform": place}
            found = {
                "buildx.build.ref": "default/default/" + result.image_id[7:32],
                "containerimage.config.digest": result.image_id,
                "containerimage.descriptor": described,
                "containerimage.digest": result.digest,
            }
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

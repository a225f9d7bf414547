"""The command line's spine: find the command, run it, turn errors into text and exit codes. Nothing below here prints or exits."""

from __future__ import annotations

import os
import sys

from wherry.cli import table
from wherry.cli.options import Help
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from wherry.cli.context import Context

# Commands whose errors exit with 125, as docker's do: what the container itself returns must be told from what we say.
_RUNNERS = ("run", "create", "container run", "container create")


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and end the process. Leaves by os._exit: closing the database would only cost time (docs/internals/store.md)."""
    code = 1
    # The store's files have modes of their own, whatever the caller's mask; the launcher gives containers docker's.
    os.umask(0o022)
    _set_right_what_the_caller_left()
    try:
        code = run(_words() if argv is None else argv)
    except BrokenPipeError:
        code = 141
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        # A full disk behind our own output, or a terminal that is gone.
        code = code or 1
        _complain(f"wherry: {os.strerror(error.errno or 0)}")
    finally:
        _flush()
    os._exit(code)


def _words() -> list[str]:
    """The command line; called as `buildah`, it is the group of that name."""
    return ["buildah", *sys.argv[1:]] if os.path.basename(sys.argv[0]) == "buildah" else sys.argv[1:]


def _set_right_what_the_caller_left() -> None:
    """Closed standard streams, so that no file of ours gets their numbers; an ignored SIGCHLD, which would hide our helpers' ends."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open("/dev/null", os.O_RDWR), True)
    import _signal

    if _signal.getsignal(_signal.SIGCHLD) == _signal.SIG_IGN:
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)


def run(words: list[str]) -> int:
    """The exit code of a command line."""
    from wherry.cli.context import Context

    context = Context()
    try:
        words = context.globals(words)
    except WherryError as error:
        return _report(context, error, "")
    if context.finished is not None:
        return context.finished
    if words[:1] == ["buildah"] and words[1:2] and words[1].startswith("-"):
        try:
            words = _buildah_globals(context, words)
        except WherryError as error:
            return _report(context, error, "")
    path, count = table.find(words)
    if not path:
        return _no_command(context, words)
    context.path = path
    try:
        module = _load(table.COMMANDS[path][0])
        return int(module.run(context, words[count:]))
    except Help:
        from wherry.cli.help import command_help

        context.out(command_help(context, path))
        return 0
    except WherryError as error:
        return _report(context, error, path)
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:
        return _unexpected(context, error)


def _buildah_globals(context: Context, words: list[str]) -> list[str]:
    from wherry.cli import buildah_globals

    return ["buildah", *buildah_globals.taken(context, words[1:])]


def _load(name: str) -> Any:
    module = "wherry.cli.commands." + name
    __import__(module)
    return sys.modules[module]


def _report(context: Context, error: WherryError, path: str) -> int:
    """docker's forms: flags and counts with the usage line; run and create behind the program's name; the rest plain."""
    from wherry.cli.options import CountError, FlagError

    command = f"{context.program} {path}".rstrip()
    text = error.message
    if error.daemon:
        text = f"Error response from daemon: {text}"
    if error.hint:
        text += f"\n{error.hint}"
    code = error.exit_code
    if isinstance(error, FlagError):
        text += f"\n\nUsage:  {command} {_usage(path)}\n\nRun '{command} --help' for more information"
    elif isinstance(error, CountError):
        see = "See" if "at least" in text else "Run"
        text = f"{context.program}: '{command}' {text}\n\nUsage:  {command} {_usage(path)}\n\n{see} '{command} --help' for more information"
    elif path in _RUNNERS:
        text = f"{context.program}: {text}\n\nRun '{command} --help' for more information"
        code = code if code in (126, 127) else 125
    _complain(text)
    if context.debugging:
        import traceback

        traceback.print_exc()
    return code


def _usage(path: str) -> str:
    return str(_load(table.COMMANDS[path][0]).USAGE) if path else "[OPTIONS] COMMAND [ARG...]"


def _no_command(context: Context, words: list[str]) -> int:
    from wherry.cli.help import about, overview

    group = words[0] if words and words[0] in table.GROUPS else ""
    rest = words[1:] if group else words
    if not rest or group and rest[0] in ("--help", "-h"):
        context.out(overview(context, group))
        return 0
    if words[0] == "help":
        return about(context, words[1:])
    if group and rest[0].startswith("-"):
        return _unknown(context, f"unknown flag: {rest[0]}", group, 125)
    word = f"{group} {rest[0]}".lstrip()
    name = next((n for n in (word, words[0], rest[0]) if n in table.NOT_YET), "")
    if name:
        hint = table.NOT_YET[name]
        _complain(f"{context.program}: '{word}' is not supported yet" + (f"; {hint}" if hint else ""))
        return 1
    from wherry.cli.options import nearest

    near = nearest(word, list(table.COMMANDS))
    text = f"{context.program}: unknown command: {context.program} {word}"
    return _unknown(context, f"{text}\nDid you mean: {near}?" if near else text, group, 1)


def _unknown(context: Context, text: str, group: str, code: int) -> int:
    command = f"{context.program} {group}".rstrip()
    usage = f"\n\nUsage:  {command}" if group else ""
    _complain(f"{text}{usage}\n\nRun '{command} --help' for more information")
    return code


def _unexpected(context: Context, error: Exception) -> int:
    """A fault of ours, or an error of the system that nobody expected. No traceback reaches a user who didn't ask for it."""
    if context.debugging:
        import traceback

        traceback.print_exc()
    elif isinstance(error, UnicodeEncodeError):
        # The database keeps text; nothing in it has a name that is none.
        _complain(f"{context.program}: {error.object}: not valid UTF-8")
    elif isinstance(error, OSError) and error.errno:
        name = f"{error.filename}: " if error.filename else ""
        _complain(f"{context.program}: {os.fsdecode(name)}{os.strerror(error.errno).lower()}")
        if error.errno in (28, 122):  # ENOSPC, EDQUOT
            _complain("free some space on the file system of the store; `wherry system df` shows what wherry itself could give back")
    else:
        _complain(
            f"{context.program}: internal error: {type(error).__name__}: {error}\nrun it again with --debug and report what it prints"
        )
    return 125 if context.path in _RUNNERS else 1


def _complain(text: str) -> None:
    from wherry.cli.context import encoded

    try:
        os.write(2, encoded(text + "\n"))
    except OSError:
        return


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A caller may have closed them: then Python has None there.
        if stream is not None:
            try:
                stream.flush()
            except (OSError, ValueError):
                continue

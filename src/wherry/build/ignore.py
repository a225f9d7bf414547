"""`.dockerignore`: patterns, exceptions, the last match wins (moby/patternmatcher's rules).

A pattern that matches a folder matches all below it. A later `!` pattern takes back what an earlier one left out.
"""

from __future__ import annotations

import posixpath
import re

from wherry.build import patterns
from wherry.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_BYTES = 4 << 20


def read(data: bytes) -> list[str]:
    """The patterns of a file: trimmed, comments and empty lines left out, cleaned, without a leading slash."""
    found = []
    for raw in data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").split("\n"):
        if raw.startswith("#"):
            continue
        line = raw.strip()
        negated = line.startswith("!")
        line = line[1:].strip() if negated else line
        if line:
            line = posixpath.normpath(line)
            if len(line) > 1 and line.startswith("/"):
                line = line.lstrip("/")
        elif not negated:
            continue
        found.append("!" + line if negated else line)
    return found


class Ignore:
    """Compiled patterns. Raises InvalidArgument for a malformed one."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        # Beginnings of paths below which an exception may match; None: anywhere.
        self._exceptions: list[str] | None = []
        run: list[str] = []
        run_takes_back = False
        self.empty = True
        for line in lines:
            takes_back = line.startswith("!")
            text = line[1:] if takes_back else line
            if takes_back and not text:
                raise InvalidArgument('illegal exclusion pattern: "!"')
            text = posixpath.normpath(text.strip()) if text.strip() else ""
            if not text:
                continue
            self.empty = False
            if takes_back and self._exceptions is not None:
                if patterns.is_glob(text):
                    self._exceptions = None
                else:
                    self._exceptions.append(text + "/")
            if takes_back != run_takes_back and run:
                self._rules.append((run_takes_back, _compiled(run)))
                run = []
            run_takes_back = takes_back
            run.append(_regular(text))
        if run:
            self._rules.append((run_takes_back, _compiled(run)))

    def matches(self, path: str) -> bool:
        """Whether `path` (relative, without slashes at its ends) is left out."""
        matched = False
        for takes_back, pattern in self._rules:
            # An exception changes nothing while nothing has matched, and the other way round.
            if takes_back == matched and pattern.match(path) is not None:
                matched = not takes_back
        return matched

    def prunes(self, folder: str) -> bool:
        """Whether nothing below a folder that is left out can come back by an exception."""
        if self._exceptions is None:
            return False
        start = folder + "/"
        return not any(e.startswith(start) or start.startswith(e) for e in self._exceptions)


def _compiled(texts: list[str]) -> re.Pattern[str]:
    try:
        return re.compile(f"(?:{'|'.join(texts)})(?:/.*)?\\Z", re.DOTALL)
    except re.error as error:
        raise InvalidArgument(f"syntax error in pattern: {error}") from None


def _regular(pattern: str) -> str:
    """A pattern as a regular expression: ** any number of folders, the rest as Go's filepath.Match."""
    # Go's own rules say what is malformed.
    patterns.regular(pattern)
    out = []
    at = 0
    while at < len(pattern):
        if pattern.startswith("**", at):
            at += 2
            while pattern.startswith("*", at):
                at += 1
            if pattern.startswith("/", at):
                at += 1
            # **/**/ says no more than **/, and would be tried in every way.
            while pattern.startswith("**/", at):
                at += 3
            out.append(".*" if at >= len(pattern) else "(?:.*/)?" if pattern[at - 1] == "/" else ".*")
            continue
        end = at
        while end < len(pattern) and not pattern.startswith("**", end):
            # What is escaped or in a class is taken along as it is.
            if pattern[end] == "\\":
                end += 2
            elif pattern[end] == "[":
                close = end + 2
                while close < len(pattern) and pattern[close] != "]":
                    close += 2 if pattern[close] == "\\" else 1
                end = close + 1
            else:
                end += 1
        out.append(patterns.regular(pattern[at:end]))
        at = end
    return "".join(out)

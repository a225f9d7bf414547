"""--env, --env-file, --label and --label-file (docker/cli, pkg/kvfile and opts)."""

from __future__ import annotations

import os

from wherry.errors import UsageError


def variable(text: str) -> str:
    """-e KEY=VALUE as it is; -e KEY takes the caller's value, and stays KEY alone (take it away) where there is none."""
    if not text or text.startswith("="):
        raise UsageError(f"invalid environment variable: {text}")
    if "=" in text:
        return text
    value = os.environ.get(text)
    return text if value is None else f"{text}={value}"


def read_file(path: str, *, lookup: bool = True) -> list[str]:
    """The lines of an env-file. No quotes, no expansion; # lines and empty lines are skipped. Raises UsageError."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise UsageError(f"open {path}: {(os.strerror(error.errno or 0)).lower()}") from error
    found = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            line = raw.removesuffix(b"\r").decode("utf-8").lstrip()
        except UnicodeDecodeError:
            raise UsageError(f"invalid utf8 bytes at line {number} of {path}") from None
        if not line or line.startswith("#"):
            continue
        key, equals, _value = line.partition("=")
        if not key:
            raise UsageError(f"no variable name on line '{line}'")
        if any(c in " \t\v\f\r" for c in key):
            raise UsageError(f"variable '{key}' contains whitespaces")
        if equals:
            found.append(line)
        elif lookup:
            value = os.environ.get(key)
            if value is not None:
                found.append(f"{key}={value}")
        else:
            found.append(key)
    return found


def label(text: str) -> str:
    """A --label as it is. Raises UsageError."""
    if not text or text.startswith("="):
        raise UsageError(f"invalid label '{text}': empty name")
    return text


def labels(texts: list[str]) -> dict[str, str]:
    """{"key": "value"}; a label without a value has an empty one. Raises UsageError."""
    found = {}
    for text in texts:
        key, _, value = label(text).partition("=")
        found[key] = value
    return found

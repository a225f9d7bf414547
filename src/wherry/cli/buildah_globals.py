"""Options before buildah's verb: `buildah --root DIR from …`."""

from __future__ import annotations

import os

from wherry.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

# With a value; what has no meaning here is taken and left.
_VALUES = {
    "--registries-conf": "CONTAINERS_REGISTRIES_CONF",
    "--root": "",
    "--runroot": "",
    "--cgroup-manager": "",
    "--default-mounts-file": "",
    "--log-level": "",
    "--registries-conf-dir": "",
    "--short-name-alias-conf": "",
    "--signature-policy": "",
    "--storage-driver": "",
    "--storage-opt": "",
    "--userns-gid-map": "",
    "--userns-uid-map": "",
}


def taken(context: Context, words: list[str]) -> list[str]:
    """Take them off the front. Raises UsageError."""
    while words and words[0].startswith("-") and words[0] not in ("-h", "--help"):
        name, equals, value = words.pop(0).partition("=")
        if name == "--debug":
            context.debugging = True
            continue
        if name in ("-v", "--version"):
            return ["version"]
        if name not in _VALUES:
            raise UsageError(f"unknown flag: {name}")
        if not equals:
            if not words:
                raise UsageError(f"flag needs an argument: {name}")
            value = words.pop(0)
        if name == "--root":
            context.root = value
        elif name == "--runroot":
            context.runroot = value
        elif name == "--signature-policy":
            # Verbs that fetch take it themselves.
            os.environ.setdefault("WHERRY_SIGNATURE_POLICY", value)
        elif _VALUES[name]:
            os.environ[_VALUES[name]] = value
    return words

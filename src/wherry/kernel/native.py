"""Where the native program is."""

from __future__ import annotations

import os

from wherry.errors import HostError

_NAME = "wherry-native"


def path() -> str:
    """$WHERRY_NATIVE, or the one that came with the package. Raises HostError when there is none."""
    named = os.environ.get("WHERRY_NATIVE")
    if named:
        return named
    found = f"{os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}/_bin/{_NAME}"
    if not os.path.exists(found):
        raise HostError(f"the native program is missing: {found}", hint="install wherry again, or build it with `make -C native`")
    return found

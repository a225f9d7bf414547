"""wherry: a container engine without a daemon and without root. What is listed in `__all__` is the public API.

    from wherry import Engine

Names come in when they are asked for: the command line imports modules below this one and must not pay for the API.
"""

from __future__ import annotations

__all__ = ["Engine", "WherryError", "__version__"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.engine import Engine
    from wherry.errors import WherryError
    from wherry.version import VERSION as __version__


def __getattr__(name: str) -> object:
    if name == "Engine":
        from wherry.engine import Engine

        return Engine
    if name == "WherryError":
        from wherry.errors import WherryError

        return WherryError
    if name == "__version__":
        from wherry.version import VERSION

        return VERSION
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

"""wherry: a container engine without a daemon and without root. What is listed in `__all__` is the public API.

    import wherry

    with wherry.Engine() as engine:
        print(engine.containers.run("alpine", ["echo", "hi"], remove=True))

Names come in when they are asked for: the command line imports modules below this one and must not pay for the API.
"""

from __future__ import annotations

__all__ = [
    "AccessDenied",
    "ArchiveError",
    "BuildError",
    "Conflict",
    "Container",
    "ContainerError",
    "ContainerOptions",
    "Engine",
    "ExecResult",
    "HostError",
    "Image",
    "InvalidArgument",
    "LaunchError",
    "MonitorError",
    "Network",
    "NotFound",
    "Output",
    "Pruned",
    "RegistryError",
    "StoreError",
    "StoreFull",
    "Stream",
    "Unsupported",
    "Volume",
    "WherryError",
    "__version__",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.client import Engine
    from wherry.client.container import Container, ExecResult
    from wherry.client.containers import Output, Pruned
    from wherry.client.images import Image
    from wherry.client.networks import Network
    from wherry.client.options import ContainerOptions
    from wherry.client.volumes import Volume
    from wherry.engine.stream import Stream
    from wherry.errors import (
        AccessDenied,
        ArchiveError,
        BuildError,
        Conflict,
        ContainerError,
        HostError,
        InvalidArgument,
        LaunchError,
        MonitorError,
        NotFound,
        RegistryError,
        StoreError,
        StoreFull,
        Unsupported,
        WherryError,
    )
    from wherry.version import VERSION as __version__

# name → (module, name there); the rest are errors.
_PLACES = {
    "Container": ("wherry.client.container", "Container"),
    "ContainerOptions": ("wherry.client.options", "ContainerOptions"),
    "Engine": ("wherry.client", "Engine"),
    "ExecResult": ("wherry.client.container", "ExecResult"),
    "Image": ("wherry.client.images", "Image"),
    "Network": ("wherry.client.networks", "Network"),
    "Output": ("wherry.client.containers", "Output"),
    "Pruned": ("wherry.client.containers", "Pruned"),
    "Stream": ("wherry.engine.stream", "Stream"),
    "Volume": ("wherry.client.volumes", "Volume"),
    "__version__": ("wherry.version", "VERSION"),
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import sys

    module, there = _PLACES.get(name, ("wherry.errors", name))
    __import__(module)
    return getattr(sys.modules[module], there)


def __dir__() -> list[str]:
    return __all__

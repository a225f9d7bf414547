"""A program as root of the user's namespace R, in place of this one."""

from __future__ import annotations

import os

from wherry.errors import WherryError
from wherry.kernel import userns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from wherry.engine import Engine


def execute(engine: Engine, argv: list[str]) -> NoReturn:
    """Become `argv` in R, with a mount namespace of its own. wherry works there on the same store. Raises HostError, WherryError."""
    prefix, own = userns.enter_command()
    store = engine.store
    environment = {
        **os.environ,
        **{key: value for key, value in own.items() if key.startswith("WHERRY_")},
        userns.MARK: "1",
        "WHERRY_ROOT": store.root,
        "WHERRY_RUNROOT": store.run,
        # Buildah's and podman's scripts ask for these.
        "_CONTAINERS_USERNS_CONFIGURED": "done",
        "_CONTAINERS_ROOTLESS_UID": str(os.geteuid()),
        "_CONTAINERS_ROOTLESS_GID": str(os.getegid()),
    }
    if userns.current().mode == "single":
        environment["WHERRY_SINGLE_ID"] = "1"
    words = [*prefix, *argv]
    try:
        os.execve(words[0], words, environment)
    except OSError as error:
        raise WherryError(f"{words[0]}: {os.strerror(error.errno or 0)}", exit_code=125) from None

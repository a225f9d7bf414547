"""Where the store and the run root are."""

from __future__ import annotations

import os

from wherry.errors import HostError
from wherry.kernel import userns
from wherry.model import config


def is_real_root(uid: int) -> bool:
    """Root of the host; root of a user namespace that somebody else made counts as an ordinary user, /var is not his."""
    return uid == 0 and userns.current().mode == "host"


def default_root(uid: int) -> str:
    """/var/lib/wherry for root, $XDG_DATA_HOME/wherry or ~/.local/share/wherry for anybody else."""
    named = config.value("root")
    if named:
        return str(named)
    if is_real_root(uid):
        return "/var/lib/wherry"
    data = os.environ.get("XDG_DATA_HOME", "")
    if not data.startswith("/"):
        home = os.environ.get("HOME", "")
        if not home.startswith("/"):
            home = _home(uid)
        data = home + "/.local/share"
    return data + "/wherry"


def _home(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        raise HostError(
            f"no home folder is known for user {uid}", hint="set HOME or XDG_DATA_HOME, or name the store with --root"
        ) from None


def named_run() -> str:
    """The run root that a setting names, "" when none does."""
    return str(config.value("runroot"))


def default_run(uid: int) -> str:
    """The run root: what needn't survive a reboot.

    /run/wherry for root; else $XDG_RUNTIME_DIR/wherry, else below /run/user/<uid> if that is ours, else /tmp/wherry-<uid>.
    """
    if is_real_root(uid):
        return "/run/wherry"
    for folder in (os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}"):
        if folder.startswith("/") and is_ours(folder, uid):
            return folder + "/wherry"
    return f"/tmp/wherry-{uid}"


def is_ours(folder: str, uid: int) -> bool:
    try:
        return os.stat(folder).st_uid == uid
    except OSError:
        return False


def make_private(folder: str, uid: int) -> None:
    """Make `folder` (0700, ours) or check that it is so: a folder in /tmp might have been put there by somebody else."""
    try:
        os.mkdir(folder, 0o700)
        return
    except FileExistsError:
        pass
    except FileNotFoundError:
        os.makedirs(os.path.dirname(folder), 0o755, exist_ok=True)
        make_private(folder, uid)
        return
    except OSError as error:
        raise HostError(
            f"the run root {folder} can't be made: {os.strerror(error.errno or 0)}", hint="name another one with --runroot"
        ) from error
    found = os.lstat(folder)
    if found.st_mode & 0o170000 != 0o040000 or found.st_uid != uid:
        raise HostError(f"the run root {folder} is not a folder of user {uid}", hint="remove it or name another one with --runroot")
    if found.st_mode & 0o077:
        os.chmod(folder, 0o700)

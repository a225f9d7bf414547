"""User namespaces: which ids this user's containers can have, and how to come into the user's own namespace R.

R maps 0 to the user and 1… to his subordinate ids; every container of his has a child of it. For root R is the host.
"""

from __future__ import annotations

import os

from wherry.errors import HostError
from wherry.kernel import native, subids
from wherry.model.record import Record

# Set in R for what the native program starts there: "you are root of R, do not make another".
MARK = "WHERRY_IN_R"
_PLACES = ("/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin", "/sbin")


class RootMapping(Record):
    """R of this process's user. `mode`: "host" (root, or inside R already), "newuidmap" (subordinate ids), "single" (one id).

    Triples are (inside, outside, count). `helpers` are the paths of newuidmap and newgidmap. `lack` says why there is one id only.
    """

    mode: str
    uids: tuple[tuple[int, int, int], ...] = ()
    gids: tuple[tuple[int, int, int], ...] = ()
    helpers: tuple[str, ...] = ()
    lack: str = ""


_cached: RootMapping | None = None


def current() -> RootMapping:
    """The mapping for the user that runs us; looked up once."""
    global _cached
    if _cached is None:
        _cached = _look_up()
    return _cached


def _look_up() -> RootMapping:
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0 and (os.environ.get(MARK) == "1" or _mapped("uid") == _ALL and _may_administer()):
        return RootMapping("host")
    # Root of somebody else's user namespace has not the host's ids to lease, and root of an outer container may mount
    # nothing: they count as users.
    name = user_name(uid)
    uids = subids.of_user("/etc/subuid", uid, name)
    gids = subids.of_user("/etc/subgid", uid, name)
    if uid == 0:
        # The files may speak of ids that this namespace doesn't have.
        uids, gids = _within(uids, _mapped("uid")), _within(gids, _mapped("gid"))
    helpers = tuple(_helper(program) for program in ("newuidmap", "newgidmap"))
    if os.environ.get("WHERRY_SINGLE_ID") == "1":
        lack = "WHERRY_SINGLE_ID=1"
    elif not all(helpers):
        lack = "newuidmap and newgidmap are not installed (Debian and Ubuntu: package uidmap; Fedora: shadow-utils)"
    elif not uids or not gids:
        who = name or str(uid)
        lack = f"{who} has no ranges in /etc/subuid and /etc/subgid; as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {who}"
    elif uid != 0 and not all(_may_map(path) for path in helpers):
        lack = f"{helpers[0]} and {helpers[1]} are neither set-user-id root nor have file capabilities; as root: chmod u+s {helpers[0]} {helpers[1]}"
    else:
        return RootMapping("newuidmap", _with_own(uid, uids), _with_own(gid, gids), helpers)
    return RootMapping("single", ((0, uid, 1),), ((0, gid, 1),), lack=lack)


_CAP_SYS_ADMIN = 21


def _may_administer() -> bool:
    """Whether root is root: in a container of docker's or podman's it lacks this capability."""
    try:
        fd = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(fd, 8192)
        finally:
            os.close(fd)
        return bool(int(text.partition(b"CapEff:")[2].split()[0], 16) >> _CAP_SYS_ADMIN & 1)
    except (OSError, ValueError, IndexError):
        return True


# user_namespaces(7): the machine's own namespace maps every id.
_ALL = ((0, 4294967295),)


def _mapped(kind: str) -> tuple[tuple[int, int], ...]:
    """(start, count) of the ids that exist in our own namespace. `kind`: "uid" or "gid"."""
    try:
        with open(f"/proc/self/{kind}_map", encoding="ascii") as file:
            return tuple((int(fields[0]), int(fields[2])) for fields in map(str.split, file))
    except OSError:
        return _ALL


def _within(ranges: tuple[tuple[int, int], ...], mapped: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    return tuple(r for r in ranges if any(start <= r[0] and r[0] + r[1] <= start + count for start, count in mapped))


def _may_map(path: str) -> bool:
    """Whether a helper has the rights to write a map for us."""
    status = os.stat(path)
    if status.st_uid == 0 and status.st_mode & 0o4000:
        return True
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False


def user_name(uid: int) -> str:
    """The login name of a user, "" if it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def _with_own(own: int, ranges: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int, int], ...]:
    triples = [(0, own, 1)]
    inside = 1
    for start, count in ranges:
        triples.append((inside, start, count))
        inside += count
    return tuple(triples)


def _helper(program: str) -> str:
    """Path of a set-uid (or file-capability) helper; "" when it is not installed."""
    for folder in [*os.environ.get("PATH", "").split(":"), *_PLACES]:
        path = f"{folder}/{program}"
        if folder.startswith("/") and os.access(path, os.X_OK):
            return path
    return ""


def enter_command() -> tuple[tuple[str, ...], dict[str, str]]:
    """Words to put before a command, and its environment, so that it runs as root of R; no words for root.

    Raises HostError where the native program is missing.
    """
    mapping = current()
    environment = {"PATH": os.environ.get("PATH", os.defpath)}
    if mapping.mode == "host":
        return (), environment
    environment["WHERRY_UIDMAP"] = ",".join(f"{a} {b} {c}" for a, b, c in mapping.uids)
    environment["WHERRY_GIDMAP"] = ",".join(f"{a} {b} {c}" for a, b, c in mapping.gids)
    if mapping.mode == "newuidmap":
        environment["WHERRY_NEWUIDMAP"], environment["WHERRY_NEWGIDMAP"] = mapping.helpers
    return (native.path(), "enter", "-1", "-", "--"), environment


def of_process(pid: int) -> str:
    """The identity of a process's user namespace, as the kernel writes it: "user:[4026531837]"."""
    try:
        return os.readlink(f"/proc/{pid}/ns/user")
    except OSError:
        return ""


def obstacle() -> HostError | None:
    """Why this host lets an ordinary user make no user namespace, with the remedy; None when nothing speaks against it."""
    if _number("/proc/sys/user/max_user_namespaces") == 0:
        return HostError(
            "user namespaces are switched off (user.max_user_namespaces=0)", hint="as root: sysctl -w user.max_user_namespaces=15000"
        )
    if os.geteuid() == 0:
        return None
    if _number("/proc/sys/kernel/unprivileged_userns_clone") == 0:
        return HostError(
            "user namespaces are forbidden to ordinary users (kernel.unprivileged_userns_clone=0)",
            hint="as root: sysctl -w kernel.unprivileged_userns_clone=1",
        )
    if _number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1:
        program = native.path()
        return HostError(
            "AppArmor forbids user namespaces to unconfined programs (kernel.apparmor_restrict_unprivileged_userns=1)",
            hint="as root, either: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0; or give the native program a profile: "
            f"printf 'abi <abi/4.0>,\\nprofile wherry {program} flags=(unconfined) {{ userns, }}\\n' > /etc/apparmor.d/wherry "
            "&& apparmor_parser -r /etc/apparmor.d/wherry",
        )
    return None


def refused() -> HostError:
    """The error of a program that could not be started as root of the user's namespace."""
    return obstacle() or HostError(
        "this user can't make a user namespace here",
        hint="`wherry info` says what forbids it; in a container, start the outer one with --security-opt seccomp=unconfined "
        "--security-opt unmask=ALL and put the store on a volume",
    )


def _number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None

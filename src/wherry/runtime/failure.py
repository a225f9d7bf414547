"""What the launcher reported, in docker's words where scripts look for them. Loaded only when something failed."""

from __future__ import annotations

import errno
import os

from wherry.errors import LaunchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.runtime.plan import Plan

_PREFIX = "failed to create task for container: failed to create shim task: OCI runtime create failed: "
# Operations whose failure is about the payload itself.
_PROCESS = frozenset(("ARGV", "END"))


def launch_error(plan: Plan, index: int, number: int, detail: str) -> LaunchError:
    """The error for operation `index` (-1: none in particular) that failed with errno `number` and the launcher's detail."""
    name = plan.steps[index][0] if 0 <= index < len(plan.steps) else ""
    reason = os.strerror(number).lower() if number else ""
    if name in _PROCESS:
        return _exec_error(plan, number, detail)
    if name in ("USER", "GROUPS"):
        return LaunchError(detail or f"cannot set the user: {reason}", errno=number)
    if name == "CWD":
        return _cwd_error(plan, index, number, detail)
    if name in ("ATTACH", "SOURCE", "SOURCE_PART", "OVERLAY_AT"):
        return _mount_error(plan, index, number, detail)
    if name in ("HOLD", "PUBLISH"):
        return _port_error(plan, index, reason)
    step = plan.describe(index) if name else "launch"
    text = f"cannot start the container: {step}"
    if detail and detail not in step:
        text += f": {detail}"
    return LaunchError(f"{text}: {reason}" if reason else text, errno=number, hint=_hint(name, number))


def _exec_error(plan: Plan, number: int, detail: str) -> LaunchError:
    argv = next((fields[0] for name, fields in plan.steps if name == "ARGV"), ("",))
    wanted = str(argv[0]) if argv else ""  # type: ignore[index]
    if number == errno.ENOENT:
        reason = f"stat {wanted}: no such file or directory" if "/" in wanted else "executable file not found in $PATH"
        code = 127
    elif number == errno.EISDIR:
        reason, code = "is a directory", 126
    elif number == errno.ENOTDIR:
        reason, code = "not a directory", 127
    else:
        reason, code = os.strerror(number).lower() if number else detail, 126
    return LaunchError(
        f'{_PREFIX}runc create failed: unable to start container process: exec: "{wanted}": {reason}', exit_code=code, errno=number
    )


def _cwd_error(plan: Plan, index: int, number: int, detail: str) -> LaunchError:
    folder = str(plan.steps[index][1][0])
    reason = os.strerror(number).lower() if number else detail
    code = 127 if number in (errno.ENOENT, errno.ENOTDIR) else 126 if number in (errno.EACCES, errno.EPERM) else 125
    return LaunchError(
        f'{_PREFIX}runc create failed: unable to start container process: chdir to cwd ("{folder}") set in config.json failed: {reason}',
        exit_code=code,
        errno=number,
    )


def _mount_error(plan: Plan, index: int, number: int, detail: str) -> LaunchError:
    name, fields = plan.steps[index]
    reason = os.strerror(number).lower() if number else detail
    if name == "SOURCE_PART":
        path = "/".join(str(f) for f in (fields[1], fields[5]) if f)
        return LaunchError(f"cannot access path {path}: {reason}", errno=number, hint=_part_hint(fields[5], number))
    if name == "SOURCE":
        source = str(fields[1])
        return LaunchError(f"cannot mount {source}: {reason}" + (f" ({detail})" if detail and detail != source else ""), errno=number)
    target = str(fields[1])
    source = next((str(f[1]) for n, f in plan.steps if n in ("SOURCE", "SOURCE_PART") and f[0] == fields[0]), "")
    if number == errno.ENOTDIR:
        return LaunchError(
            f'{_PREFIX}runc create failed: unable to start container process: error mounting "{source}" to rootfs at "{target}": '
            "not a directory: Are you trying to mount a directory onto a file (or vice-versa)? "
            "Check if the specified host path exists and is the expected type",
            exit_code=127,
            errno=number,
        )
    return LaunchError(f'error mounting "{source}" to rootfs at "{target}": {reason}', errno=number)


def _part_hint(below: object, number: int) -> str:
    return "the subpath of a volume has to be there before the container starts" if below and number == errno.ENOENT else ""


def _port_error(plan: Plan, index: int, reason: str) -> LaunchError:
    """A published port that somebody took between the look at it and the start."""
    protocol, address, port = (str(field) for field in plan.steps[index][1])
    shown = f"[{address}]" if ":" in address else address
    kind = {"6": "tcp", "17": "udp", "132": "sctp"}.get(protocol, "tcp")
    return LaunchError(
        "failed to set up container networking: driver failed programming external connectivity on endpoint: "
        f"failed to bind host port {shown}:{port}/{kind}: {reason}"
    )


def _hint(name: str, number: int) -> str:
    if name in ("USERNS_NEW", "USERNS_ROOT") and number in (errno.EPERM, errno.ENOSPC, errno.EACCES):
        return "this host doesn't let you make user namespaces; `wherry info` says what forbids it and how to allow it"
    if number == errno.ENOSPC:
        return "free some space on the file system of the store"
    return ""

"""The driver `s3`: a volume whose data are in a bucket.

mode=mount   rclone mounts the bucket for the containers that use the volume (the default)
mode=ro      the same, read-only
mode=sync    a plain folder, pulled at the start, pushed at the end and every `interval` seconds

Its folder volumes/<name> holds _data (sync), cache/ (what rclone has not sent yet), journal, and keys, 0600, where the environment of
`volume create` had them. One agent (agent.py) runs for each volume that is in use.
"""

from __future__ import annotations

import json
import os
import sys
import time

from wherry.errors import HostError, InvalidArgument
from wherry.kernel import native, process, userns
from wherry.store import volumes
from wherry.store.locks import FolderLock
from wherry.volume import holder

# Where an agent has its shared mount open (agent.py).
BELOW_FD = 100

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.model.mounts import MountSpec
    from wherry.store import Store
    from wherry.store.volumes import VolumeRow
    from wherry.volume.s3http import Where

OPTIONS = ("bucket", "prefix", "endpoint", "region", "mode", "interval", "secret", "profile")
_SECRET = (
    "access_key",
    "secret_key",
    "access_key_id",
    "secret_access_key",
    "aws_access_key_id",
    "aws_secret_access_key",
    "passwd",
    "keys",
    "token",
)
CANNOT = (
    "hard links",
    "locks between hosts",
    "more than one writer",
    "owners and modes in mode=mount",
    "other owners for another range of ids",
)
# How long `flush` and `stop` wait for what is not sent yet.
FLUSH_S = 60.0
STOP_S = 15.0


def check(name: str, options: dict[str, str]) -> None:
    """Raises InvalidArgument."""
    for key in options:
        if key in _SECRET:
            raise InvalidArgument(
                f"create {name}: keys are no options: they would stand in argv and in `inspect`",
                hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or keep them with `secret create` and give -o secret=NAME",
            )
        if key not in OPTIONS:
            raise InvalidArgument(f'create {name}: invalid option: "{key}"', hint=f"an s3 volume takes {', '.join(OPTIONS)}")
    if not options.get("bucket"):
        raise InvalidArgument(f'create {name}: missing required option: "bucket"')
    if options.get("mode", "mount") not in ("mount", "sync", "ro"):
        raise InvalidArgument(f"create {name}: mode={options['mode']}: it is mount, sync or ro")
    interval = options.get("interval", "30")
    if not interval.isdigit() or not 1 <= int(interval) <= 86400:
        raise InvalidArgument(f"create {name}: interval={interval}: a number of seconds from 1 to 86400")


def where(options: dict[str, str]) -> Where:
    from wherry.volume.s3http import Where

    region = options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return Where(options["bucket"], options.get("prefix", "").strip("/"), options.get("endpoint", ""), region)


def prepare(store: Store, name: str, options: dict[str, str]) -> dict[str, Any]:
    """The preflight: a bucket that isn't there, or keys that don't do, are errors now. "files" are kept in the volume's folder, 0600.

    Raises NotFound, HostError, S3Error.
    """
    from wherry.volume import s3keys
    from wherry.volume.s3http import Client

    keys, source = s3keys.found(store, options, "")
    mode = options.get("mode", "mount")
    client = Client(where(options), keys)
    try:
        client.check(write=mode != "ro")
    finally:
        client.close()
    if mode != "sync":
        _can_mount()
    return {"keys": source, "files": {"keys": s3keys.text(keys)} if source == "environment" else {}}


def _can_mount() -> None:
    from wherry.volume import rclone

    rclone.path()
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise HostError(
            f"/dev/fuse can't be opened: {os.strerror(error.errno or 0)}",
            hint="take -o mode=sync, which needs no FUSE; or as root: modprobe fuse; chmod 666 /dev/fuse",
        ) from error


def locate(store: Store, container_id: str, row: VolumeRow, mount: MountSpec) -> MountSpec:
    """Start the agent if it isn't there; the mount with its source. Raises HostError, S3Error."""
    options = row.options()
    mode = options.get("mode", "mount")
    folder = holder.run_folder(store, row.name)
    with FolderLock(volumes.folder(store, row.name), f"volume: {row.name}"):
        holder.note_user(folder, container_id)
        pid, start = holder.holder(folder)
        if not _stays(folder, pid, start):
            pid, start = start_agent(store, row, folder)
        elif mode == "sync":
            _wait_for_pass(folder, pid, start)
    if mode == "sync":
        return mount.replace(source=volumes.data(store, row.name))
    # A part of the volume is found by its path, and doesn't follow when the client has to be started again.
    source = folder + "/mnt" if mount.subpath else f"/proc/{pid}/fd/{BELOW_FD}"
    return mount.replace(source=source, holder=f"{pid} {start}", read_only=mount.read_only or mode == "ro")


def _stays(folder: str, pid: int, start: int) -> bool:
    """Whether the agent is there for a user that has noted itself: one that is sending the rest of an earlier one takes it on."""
    end = time.monotonic() + FLUSH_S
    while pid and process.alive(pid, start):
        if not status(folder).get("leaving"):
            return True
        if time.monotonic() > end:
            raise HostError("the volume's client is still busy with what an earlier container wrote", hint="look at `volume inspect`")
        time.sleep(0.05)
    return False


def _wait_for_pass(folder: str, pid: int, start: int) -> None:
    """A container that comes to others sees what the bucket has now, too, if that can be had soon."""
    asked = time.time()
    end = time.monotonic() + STOP_S
    _ask(folder, asked)
    while status(folder).get("passed", 0) < asked and process.alive(pid, start) and time.monotonic() < end:
        time.sleep(0.05)


def _ask(folder: str, asked: float) -> None:
    with open(folder + "/flush.new", "w", encoding="ascii") as file:
        file.write(str(asked))
    os.rename(folder + "/flush.new", folder + "/flush")


def start_agent(store: Store, row: VolumeRow, folder: str) -> tuple[int, int]:
    """(pid, start). The agent is there when the bucket is mounted, or pulled. Raises HostError."""
    from wherry.volume import rclone, s3keys

    options = row.options()
    keys, _source = s3keys.found(store, options, volumes.folder(store, row.name) + "/keys")
    place = where(options)
    mode = options.get("mode", "mount")
    order = {
        "mode": mode,
        "folder": folder,
        "volume": volumes.folder(store, row.name),
        "interval_s": int(options.get("interval", "30")),
        "where": [place.bucket, place.prefix, place.endpoint, place.region],
        "keys": [keys.access, keys.secret, keys.token],
        "rclone": rclone.path() if mode != "sync" else "",
        "root": userns.current().mode == "host",
        "native": native.path(),
    }
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = f"import sys; sys.path.insert(0, {package!r}); from wherry.volume.agent import main; main()"
    environment = {userns.MARK: "1"} | {k: os.environ[k] for k in ("AWS_CA_BUNDLE",) if k in os.environ}
    said, complaint = holder.launched(store, [sys.executable, "-I", "-S", "-c", code], environment, json.dumps(order).encode())
    numbers = said.split()
    if len(numbers) != 2:
        raise HostError(f"error while mounting volume '{row.name}': {complaint.strip() or 'its client ended at once'}")
    holder.write_holder(folder, int(numbers[0]), int(numbers[1]))
    return int(numbers[0]), int(numbers[1])


def status(folder: str) -> dict[str, Any]:
    """What the agent wrote last: state, unsent (names and bytes), error, last pass."""
    try:
        with open(folder + "/status", encoding="utf-8") as file:
            return json.load(file)  # type: ignore[no-any-return]
    except (FileNotFoundError, ValueError):
        return {}


def inspect(store: Store, row: VolumeRow) -> dict[str, Any]:
    folder = store.run_path("volumes", row.name)
    pid, start = holder.holder(folder)
    running = bool(pid) and process.alive(pid, start)
    found = status(folder) if running else {}
    return {
        "Mode": row.options().get("mode", "mount"),
        "Keys": row.state().get("keys", ""),
        "ClientPid": pid if running else 0,
        "Unsent": found.get("unsent", []) if running else _kept(store, row),
        "LastError": found.get("error", ""),
        "Conflicts": found.get("conflicts", []),
        "CanNot": list(CANNOT),
    }


def _kept(store: Store, row: VolumeRow) -> list[list[Any]]:
    """What a client that is gone has left to send: written down by it at its end, or to be looked for by the next one."""
    try:
        with open(volumes.folder(store, row.name) + "/unsent", encoding="utf-8") as file:
            return json.load(file)  # type: ignore[no-any-return]
    except (FileNotFoundError, ValueError):
        return []


def flush(store: Store, row: VolumeRow, timeout_s: float) -> list[list[Any]]:
    """Wait until all is sent; what is not after `timeout_s` as [name, bytes]. Without containers an agent is started for it."""
    folder = holder.run_folder(store, row.name)
    with FolderLock(volumes.folder(store, row.name), f"volume: {row.name}"):
        pid, start = holder.holder(folder)
        if not process.alive(pid, start):
            holder.note_user(folder, "flush")
            pid, start = start_agent(store, row, folder)
    return _wait(store, row, folder, (pid, start), timeout_s)


def settle(store: Store, row: VolumeRow) -> list[list[Any]]:
    """A container has ended: as `flush`, with a shorter limit, and without an agent if there is none any more."""
    folder = holder.run_folder(store, row.name)
    pid, start = holder.holder(folder)
    return _wait(store, row, folder, (pid, start), STOP_S) if process.alive(pid, start) else _kept(store, row)


def _wait(store: Store, row: VolumeRow, folder: str, agent: tuple[int, int], timeout_s: float) -> list[list[Any]]:
    asked = time.time()
    end = time.monotonic() + timeout_s
    _ask(folder, asked)
    try:
        while time.monotonic() < end:
            found = status(folder)
            if found.get("flushed", 0) >= asked:
                return []
            if not process.alive(*agent):
                return _kept(store, row)
            time.sleep(0.05)
        return status(folder).get("unsent") or []
    finally:
        try:
            os.unlink(folder + "/users/flush")
        except FileNotFoundError:
            pass


def removed(store: Store, row: VolumeRow) -> None:
    """The bucket stays as it is. What is not sent would be lost. Raises HostError."""
    end = time.monotonic() + FLUSH_S
    folder = store.run_path("volumes", row.name)
    pid, start = holder.holder(folder)
    while pid and process.alive(pid, start) and time.monotonic() < end:
        time.sleep(0.1)
    kept = _kept(store, row)
    if kept or pid and process.alive(pid, start):
        names = ", ".join(str(item[0]) for item in kept[:5])
        raise HostError(
            f"remove {row.name}: {len(kept)} files are not sent to the bucket yet: {names}",
            hint=f"`volume flush {row.name}` sends them; `volume rm -f` throws them away",
        )

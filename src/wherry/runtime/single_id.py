"""What a container with one id needs beside the filter of runtime/seccomp.py.

apt becomes the user _apt to download, and then verifies that it really has: the one check that a filter which lets changes of id
succeed without effect doesn't pass. So where an image has a folder for apt's settings, one is bound into it.
"""

from __future__ import annotations

import os

APT_TARGET = "/etc/apt/apt.conf.d/99-wherry-one-id"
_APT_TEXT = b'// wherry: this container has one id, so apt stays root to download.\nAPT::Sandbox::User "root";\n'


def apt_file(cache: str) -> str:
    """The path of the file with apt's setting, made in the folder `cache` if it isn't whole there; "" where that can't be done."""
    path = f"{cache}/apt-one-id"
    try:
        with open(path, "rb") as file:
            if file.read() == _APT_TEXT:
                return path
    except OSError:
        pass
    temporary = f"{path}.{os.getpid()}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, _APT_TEXT)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError:
        return ""
    return path

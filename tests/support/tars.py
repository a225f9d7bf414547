"""Tar streams made member by member, and the native unpacker run on them: as shipped, with the sanitizers, and on a kernel without openat2."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

from .place import CHECKOUT

SOURCES = ("tar.c", "unpack.c", "tree.c", "resolve.c", "recipe.c", "pack.c", "util.c")
MAIN = """
#include <string.h>
int cmd_unpack(int, char **);
int cmd_rmtree(int, char **);
int cmd_pack(int, char **);
int main(int argc, char **argv)
{
    if (argc < 2)
        return 125;
    if (!strcmp(argv[1], "unpack"))
        return cmd_unpack(argc - 2, argv + 2);
    return !strcmp(argv[1], "rmtree") ? cmd_rmtree(argc - 2, argv + 2) : cmd_pack(argc - 2, argv + 2);
}
"""
NAMESPACE = ("unshare", "--user", "--map-root-user")
FILE, LINK, SYMLINK, CHARACTER, BLOCK, FOLDER, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"


def member(
    name: str | bytes, kind: bytes = FILE, data: bytes = b"", link: str = "", pax: dict[str, str] | None = None, **fields: Any
) -> bytes:
    """One member, in PAX form where `pax` says something, else in GNU's. Fields are tarfile's: mode, uid, gid, mtime, devmajor, size, …"""
    info = tarfile.TarInfo(os.fsdecode(name))
    info.type, info.linkname, info.mode, info.size = kind, link, 0o755 if kind == FOLDER else 0o644, len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    if pax:
        info.pax_headers = pax
    form = tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT
    return info.tobuf(form, "utf-8", "surrogateescape") + data + b"\0" * (-len(data) % 512)


def stream(*members: bytes) -> bytes:
    return b"".join(members) + b"\0" * 1024


def of_files(**files: str) -> bytes:
    return stream(*(member(name, data=text.encode()) for name, text in files.items()))


def gnu(folder: Path, *words: str) -> bytes:
    """What GNU tar makes of a folder."""
    return subprocess.run(["tar", "-C", str(folder), "-c", *words], check=True, capture_output=True).stdout


class Done(NamedTuple):
    code: int
    out: str
    err: str


class Unpacker:
    """The native program's tree commands."""

    def __init__(self, words: list[str], label: str) -> None:
        self.words, self.label = words, label

    def __call__(self, data: bytes, folder: Path, *options: str, prefix: tuple[str, ...] = ()) -> Done:
        return self.run("unpack", str(folder), *options, data=data, prefix=prefix)

    def run(self, *words: str, data: bytes = b"", prefix: tuple[str, ...] = ()) -> Done:
        if os.geteuid() != 0 and not prefix:
            prefix = NAMESPACE  # where an ordinary user's trees are worked on
        done = subprocess.run([*prefix, *self.words, *words], input=data, capture_output=True, timeout=120)
        err = os.fsdecode(done.stderr)
        assert done.returncode in (0, 1), f"{self.label}: exit {done.returncode}: {err}"
        return Done(done.returncode, os.fsdecode(done.stdout), err)

    def packed(self, folder: Path, recipe: Path) -> bytes:
        return subprocess.run([*self.words, "pack", str(folder), str(recipe)], check=True, capture_output=True).stdout


def shipped(command: Path) -> Unpacker:
    (program,) = command.parent.parent.glob("lib/python3*/site-packages/wherry/_bin/wherry-native")
    return Unpacker([str(program)], "shipped")


def sanitized(folder: Path) -> Unpacker | None:
    """Built with ASan and UBSan, or None where this machine can't."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    main, program = folder / "main.c", folder / "tree-sanitized"
    main.write_text(MAIN)
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-I."]
    words = [compiler, *flags, "-o", str(program), *SOURCES, str(main)]
    if subprocess.run(words, cwd=CHECKOUT / "native", capture_output=True).returncode:
        return None
    return Unpacker([str(program)], "sanitized")


def without_openat2(unpacker: Unpacker) -> Unpacker | None:
    """The same on a kernel (or below a filter) that knows no openat2, or None where strace can't play one."""
    strace = shutil.which("strace")
    words = [strace or "", "-o", "/dev/null", "-f", "--seccomp-bpf", "-e", "trace=openat2", "-e", "inject=openat2:error=ENOSYS"]
    if strace is None or subprocess.run([*words, "true"], capture_output=True).returncode:
        return None
    return Unpacker([*words, *unpacker.words], "without-openat2")

"""Classic BPF as seccomp(2) runs it: an interpreter for filters, and the filters of a process as the kernel hands them out."""

from __future__ import annotations

import ctypes
import os
import struct

ARCHITECTURES = {"x86_64": 0xC000003E, "x86": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}
X32_BIT = 0x40000000
ALLOW, KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, TRACE, LOG = 0x7FFF0000, 0x80000000, 0, 0x30000, 0x50000, 0x7FF00000, 0x7FFC0000

Program = list[tuple[int, int, int, int]]


def decode(filter_: bytes) -> Program:
    """sock_filter[] as (code, jt, jf, k)."""
    assert filter_ and len(filter_) % 8 == 0
    return list(struct.iter_unpack("<HBBI", filter_))


def check(program: Program) -> None:
    """What the kernel's verifier asks: length, jumps forward and inside, loads aligned and inside, a return at the end."""
    assert 0 < len(program) <= 4096
    for at, (code, jt, jf, k) in enumerate(program):
        if code == 0x20:
            assert k % 4 == 0 and k < 64, (at, k)
        elif code == 0x05:
            assert at + 1 + k < len(program), (at, k)
        elif code & 7 == 5:
            assert at + 1 + max(jt, jf) < len(program), (at, jt, jf)
        else:
            assert code in (0x06, 0x54), (at, code)
    assert program[-1][0] == 0x06


def run(program: Program, architecture: str, number: int, *arguments: int) -> tuple[int, int]:
    """(verdict, instructions executed). x32's calls are x86_64's with the bit set."""
    data = struct.pack(
        "<IIQ6Q",
        number & 0xFFFFFFFF,
        ARCHITECTURES.get(architecture, int(architecture, 16) if architecture.startswith("0x") else 0),
        0,
        *(a & 0xFFFFFFFFFFFFFFFF for a in (arguments + (0,) * 6)[:6]),
    )
    accumulator = at = steps = 0
    while True:
        code, jt, jf, k = program[at]
        steps += 1
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif code == 0x06:
            return k, steps
        elif code == 0x54:
            accumulator &= k
        elif code == 0x05:
            at += k
        elif code in (0x15, 0x25, 0x35, 0x45):
            held = {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[code]
            at += jt if held else jf
        else:
            raise AssertionError(f"instruction {at - 1}: unknown code {code:#x}")


_ATTACH, _DETACH, _SECCOMP_GET_FILTER = 16, 17, 0x420C


def filters_of(pid: int) -> list[bytes]:
    """The filters of a process, newest first (ptrace(2), PTRACE_SECCOMP_GET_FILTER). Raises OSError where the kernel won't."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(_ATTACH, pid, 0, 0):
        raise OSError(ctypes.get_errno(), "ptrace attach")
    os.waitpid(pid, 0x40000000)
    found: list[bytes] = []
    try:
        while True:
            count = libc.ptrace(_SECCOMP_GET_FILTER, pid, len(found), 0)
            if count < 0:
                number = ctypes.get_errno()
                if number == 2:
                    return found
                raise OSError(number, os.strerror(number))
            buffer = ctypes.create_string_buffer(count * 8)
            libc.ptrace(_SECCOMP_GET_FILTER, pid, len(found), ctypes.addressof(buffer))
            found.append(buffer.raw)
    finally:
        libc.ptrace(_DETACH, pid, 0, 0)

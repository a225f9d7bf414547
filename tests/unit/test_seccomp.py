"""The compiler of system call filters, held to a direct reading of the rules, to the kernel's verifier and to crun."""

from __future__ import annotations

import ctypes
import json
import os
import random
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from support import bpf as kernel
from wherry.errors import InvalidArgument
from wherry.model import caps
from wherry.runtime import bpf, seccomp, seccomp_profile, syscalls

Profile = dict[str, Any]
MACHINES = {"x86_64": ("x86_64", "x86", "x32"), "aarch64": ("aarch64", "arm")}
MODES = [(machine, mode) for machine, modes in MACHINES.items() for mode in modes]
NARROW = ("x86", "x32", "arm")
OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")


def verdict(program: kernel.Program, mode: str, name: str, *arguments: int) -> int:
    number = syscalls.numbers(mode)[name]
    if mode == "x32":
        return kernel.run(program, "x86_64", number | kernel.X32_BIT, *arguments)[0]
    return kernel.run(program, mode, number, *arguments)[0]


def compiled(profile: Profile, machine: str = "x86_64") -> kernel.Program:
    program = kernel.decode(bpf.compile_profile(profile, machine))
    kernel.check(program)
    return program


def read_directly(profile: Profile, name: str, arguments: list[int], *, narrow: bool) -> int:
    """What the rules say, without compiling: the strictest rule on arguments that holds, else the rule without, else the default."""
    order = [kernel.KILL_PROCESS, kernel.KILL_THREAD, kernel.TRAP, kernel.ERRNO, kernel.TRACE, kernel.LOG, kernel.ALLOW]
    default = bpf._action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    held, plain = [], []
    for rule in profile["syscalls"]:
        action = bpf._action(rule["action"], rule.get("errnoRet"))
        if name not in rule["names"] or action == default:
            continue
        if not rule.get("args"):
            plain.append(action)
        elif all(_holds(a, arguments[a["index"]] & (0xFFFFFFFF if narrow else -1)) for a in rule["args"]):
            held.append(action)
    for found in (held, plain):
        if found:
            return min(found, key=lambda a: order.index(a & 0xFFFF0000))
    return default


def _holds(rule: Profile, value: int) -> bool:
    want = rule["value"]
    return {
        "NE": value != want,
        "LT": value < want,
        "LE": value <= want,
        "EQ": value == want,
        "GE": value >= want,
        "GT": value > want,
        "MASKED_EQ": value & want == rule.get("valueTwo", 0) & want,
    }[rule["op"].removeprefix("SCMP_CMP_")]


INTERESTING = (0, 1, 2, 5, 0x7E020000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 32) + 5, 5 << 32, (1 << 64) - 1)
NAMES = ("read", "openat", "socket", "clone", "personality", "exit")


@pytest.mark.parametrize("seed", range(60))
def test_random_profiles_mean_what_their_rules_say(seed: int) -> None:
    chance = random.Random(seed)
    profile: Profile = {"defaultAction": "SCMP_ACT_" + chance.choice(("ERRNO", "ALLOW", "KILL_PROCESS")), "syscalls": []}
    for _ in range(chance.randint(1, 8)):
        rule: Profile = {"names": chance.sample(NAMES, chance.randint(1, 3))}
        rule["action"] = "SCMP_ACT_" + chance.choice(("ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "TRAP", "LOG"))
        rule["errnoRet"] = chance.choice((0, 1, 38))
        if chance.random() < 0.7:
            rule["args"] = [
                {
                    "index": index,
                    "op": "SCMP_CMP_" + chance.choice(OPERATORS),
                    "value": chance.choice(INTERESTING),
                    "valueTwo": chance.choice(INTERESTING),
                }
                for index in chance.sample(range(6), chance.randint(1, 2))
            ]
        profile["syscalls"].append(rule)
    for machine, modes in MACHINES.items():
        program = compiled(profile, machine)
        for mode in modes:
            for name in NAMES:
                for _ in range(12):
                    arguments = [chance.choice(INTERESTING) for _ in range(6)]
                    narrow = mode in NARROW
                    if narrow:
                        arguments = [a & 0xFFFFFFFF for a in arguments]
                    expected = read_directly(profile, name, arguments, narrow=narrow)
                    # Of two rules that are equally strict and differ in errno either may speak.
                    got = verdict(program, mode, name, *arguments)
                    assert got & 0xFFFF0000 == expected & 0xFFFF0000, (mode, name, arguments)


@pytest.mark.parametrize("operator", OPERATORS)
def test_comparisons_at_their_edges(operator: str) -> None:
    for want in INTERESTING:
        argument = {"index": 2, "op": f"SCMP_CMP_{operator}", "value": want, "valueTwo": 0x7E020000}
        rule = {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [argument]}
        program = compiled({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]})
        for value in {v + d & (1 << 64) - 1 for v in INTERESTING for d in (-1, 0, 1)}:
            allowed = verdict(program, "x86_64", "read", 7, 7, value) == kernel.ALLOW
            assert allowed == _holds(argument, value), (hex(want), hex(value))


def test_an_exception_from_allow_is_not_lost() -> None:
    """libseccomp refuses such a pair; whoever writes it means it."""
    pair = [
        {"names": ["socket"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 97, "args": [{"index": 0, "value": 38, "op": "SCMP_CMP_EQ"}]},
    ]
    for rules in (pair, pair[::-1]):
        program = compiled({"defaultAction": "SCMP_ACT_KILL", "syscalls": rules})
        assert verdict(program, "x86_64", "socket", 38) == kernel.ERRNO | 97
        assert verdict(program, "x86_64", "socket", 2) == kernel.ALLOW


def test_unknown_architectures_are_killed() -> None:
    program = compiled({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []})
    assert kernel.run(program, "0xc00000b7", 0)[0] == kernel.KILL_PROCESS
    assert kernel.run(program, "0x0", 0)[0] == kernel.KILL_PROCESS


@pytest.mark.parametrize(
    ("head", "x86", "x32"),
    [
        ({}, False, False),
        ({"architectures": ["SCMP_ARCH_X86_64"]}, False, False),
        ({"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]}, True, False),
        ({"archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}]}, True, True),
        ({"archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": None}]}, False, False),
    ],
)
def test_compatible_modes_are_those_of_the_profile(head: Profile, x86: bool, x32: bool) -> None:
    from wherry.runtime import seccomp_file

    text = json.dumps({**head, "defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}).encode()
    program = compiled(seccomp_file.resolved(text, frozenset(), "x86_64"))
    assert verdict(program, "x86_64", "read") == kernel.ALLOW
    assert (verdict(program, "x86", "read") == kernel.ALLOW) is x86
    assert (verdict(program, "x32", "read") == kernel.ALLOW) is x32


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        ({"includes": {"caps": ["CAP_SYS_ADMIN"]}}, True),
        ({"includes": {"caps": ["CAP_SYS_TIME"]}}, False),
        ({"excludes": {"caps": ["CAP_SYS_ADMIN", "CAP_SYS_TIME"]}}, False),
        ({"includes": {"arches": ["amd64"]}}, True),
        ({"includes": {"arches": ["x32"]}}, True),
        ({"includes": {"arches": ["arm64"]}}, False),
        ({"excludes": {"arches": ["s390x"]}}, True),
        ({"excludes": {"arches": ["amd64"]}}, False),
        ({"includes": {"minKernel": "4.8"}}, True),
        ({"includes": {"minKernel": "999.0"}}, False),
    ],
)
def test_conditions(condition: Profile, applies: bool) -> None:
    from wherry.runtime import seccomp_file

    rule = {"names": ["read"], "action": "SCMP_ACT_ALLOW", **condition}
    text = json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}).encode()
    found = seccomp_file.resolved(text, frozenset(("SYS_ADMIN",)), "x86_64")
    assert bool(found["syscalls"]) is applies


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"defaultAction": 3}',
        '{"defaultAction": "SCMP_ACT_NO", "syscalls": []}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {"read": 1}}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [3]}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": 3, "action": "SCMP_ACT_KILL"}]}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_X"}]}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}]}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL", "args": ["x"]}]}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]}',
    ],
)
def test_malformed_profiles_are_errors_of_the_user(text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="seccomp profile"):
        seccomp.filter_for(caps.DEFAULT, text, str(tmp_path))


def test_a_profile_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"opening seccomp profile .*no such file"):
        seccomp.filter_for(caps.DEFAULT, f"{tmp_path}/none.json", str(tmp_path))


def test_a_profile_as_text_is_the_same_as_in_a_file(tmp_path: Path) -> None:
    text = '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "mkdir", "action": "SCMP_ACT_ERRNO"}]}'
    (tmp_path / "p.json").write_text(text)
    one, other = (seccomp.filter_for(caps.DEFAULT, p, str(tmp_path)) for p in (text, f"{tmp_path}/p.json"))
    assert one == other
    if os.uname().machine == "x86_64":
        # The older form, "name" instead of "names", is docker's as well.
        assert verdict(kernel.decode(one), "x86_64", "mkdir") == kernel.ERRNO | 1


def test_filters_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = seccomp.filter_for(caps.DEFAULT, "", str(tmp_path))

    def again(*_: object) -> bytes:
        raise AssertionError("compiled again")

    monkeypatch.setattr(bpf, "compile_profile", again)
    assert seccomp.filter_for(caps.DEFAULT, "builtin", str(tmp_path)) == first
    assert seccomp.filter_for(["CAP_" + name for name in caps.DEFAULT], "", str(tmp_path)) == first
    with pytest.raises(AssertionError):
        seccomp.filter_for((*caps.DEFAULT, "SYS_ADMIN"), "", str(tmp_path))


@pytest.mark.parametrize("damage", [b"", b"\0" * 7, b"\x06\0\0\0\0\0\xff\x7f"])
def test_a_filter_that_a_crash_has_cut_is_made_again(tmp_path: Path, damage: bytes) -> None:
    whole = seccomp.filter_for(caps.DEFAULT, "", str(tmp_path))
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage)
    assert seccomp.filter_for(caps.DEFAULT, "", str(tmp_path)) == whole


def test_without_a_cache_it_works_all_the_same(tmp_path: Path) -> None:
    assert seccomp.filter_for(caps.DEFAULT, "", f"{tmp_path}/none/such")


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("names", [(), caps.DEFAULT, caps.NAMES])
def test_the_kernel_s_verifier_takes_the_built_in_filter(machine: str, names: tuple[str, ...]) -> None:
    program = compiled(seccomp_profile.profile(frozenset(names), machine), machine)
    steps = [kernel.run(program, machine, number)[1] for number in syscalls.numbers(machine).values()]
    assert max(steps) < 80 and sum(steps) / len(steps) < 25


FAKED = (
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "setuid",
    "setgid",
    "setreuid",
    "setresuid",
    "setresgid",
    "setgroups",
    "setfsuid",
    "setfsgid",
)


@pytest.mark.parametrize(("machine", "mode"), MODES)
def test_single_id_filter_lets_changes_of_owner_succeed(machine: str, mode: str) -> None:
    program = compiled(seccomp.single_id_profile(), machine)
    known = syscalls.numbers(mode)
    for name in (*FAKED, *(n + "32" for n in FAKED)):
        if name in known:
            assert verdict(program, mode, name, 0, 33, 33) == kernel.ERRNO, name
    for name in ("mknod", "mknodat"):
        if name in known:
            at = 1 if name == "mknod" else 2
            for kind, faked in ((0o020000, True), (0o060000, True), (0o010000, False), (0o140000, False), (0o100000, False)):
                arguments = [0] * 6
                arguments[at] = kind | 0o644
                assert (verdict(program, mode, name, *arguments) == kernel.ERRNO) is faked, (name, oct(kind))
    for name in ("read", "openat", "getuid", "fchmod", "capset"):
        assert verdict(program, mode, name) == kernel.ALLOW


HEADERS = {
    "x86_64": "/usr/include/{triplet}/asm/unistd_64.h",
    "x86": "/usr/include/{triplet}/asm/unistd_32.h",
    "x32": "/usr/include/{triplet}/asm/unistd_x32.h",
    "aarch64": "/usr/include/asm-generic/unistd.h",
}


@pytest.mark.parametrize("mode", HEADERS)
def test_numbers_are_the_kernel_s(mode: str) -> None:
    path = Path(HEADERS[mode].format(triplet="x86_64-linux-gnu"))
    if not path.exists():
        pytest.skip(f"no {path}")
    known = syscalls.numbers(mode)
    text = path.read_text()
    for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+\(?(?:__X32_SYSCALL_BIT \+ )?(\d+)\)?$", text, re.MULTILINE):
        if name not in known or name in ("syscalls", "arch_specific_syscall"):
            continue
        if mode == "aarch64" and f"__NR3264_{name}" in text:
            continue  # two names for one number, by the size of a word
        assert known[name] == int(number), name


# What libseccomp 2.6 counts as a call of x32; the kernel's table has them for 64 bits alone (uretprobe, map_shadow_stack).
NOT_THE_KERNEL_S = {("x32", 335), ("x32", 453)}
TOKENS = {"x86_64": 0xC000003E, "x86": 0x40000003, "x32": 0x4000003E, "aarch64": 0xC00000B7, "arm": 0x40000028}


@pytest.mark.parametrize("mode", TOKENS)
def test_no_call_is_missing(mode: str) -> None:
    """What has a number for libseccomp has it here: a call that is missing would be refused by a filter that allows it."""
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("no libseccomp here")
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_char_p
    names = {number: name for name, number in syscalls.numbers(mode).items()}
    missing = {}
    for number in range(600):
        at = number | (kernel.X32_BIT if mode == "x32" else 0)
        theirs = (library.seccomp_syscall_resolve_num_arch(ctypes.c_uint32(TOKENS[mode]), at) or b"").decode()
        theirs = {"arm_sync_file_range": "sync_file_range2"}.get(theirs, theirs)
        if theirs and names.get(number) != theirs and (mode, number) not in NOT_THE_KERNEL_S:
            missing[number] = theirs
    assert not missing


def test_the_same_as_crun(tmp_path: Path) -> None:
    """crun installs docker's own form of the default profile; the kernel hands it back, and every call is asked of both."""
    if os.geteuid() or not shutil.which("crun") or not shutil.which("busybox") or os.uname().machine != "x86_64":
        pytest.skip("needs root, crun and busybox on x86-64")
    profile = seccomp_profile.profile(frozenset(caps.DEFAULT), "x86_64")
    rules = [rule for rule in profile["syscalls"] if rule["names"] != ["socket"]]  # type: ignore[attr-defined]
    # libseccomp can't hold two comparisons of one argument together: docker writes each family on its own.
    for family in (f for first, last in seccomp_profile.SOCKET_FAMILIES for f in range(first, last + 1)):
        rules.append({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": family, "op": "SCMP_CMP_EQ"}]})
    theirs = kernel.decode(_installed_by_crun(tmp_path, {**profile, "syscalls": rules}))
    ours = compiled(profile)
    unknown = _unknown_to_libseccomp()
    asked = (0, 1, 2, 8, 12, 13, 19, 37, 38, 39, 40, 41, 45, 46, 0x20000, 0x20008, 0xFFFFFFFF, 0x7E020000, 0x10000000, 0x3D0F00)
    for mode in MACHINES["x86_64"]:
        names = {number: name for name, number in syscalls.numbers(mode).items()}
        for number in range(620):
            if names.get(number) in unknown or (mode, number) in NOT_THE_KERNEL_S:
                continue
            at = number | (kernel.X32_BIT if mode == "x32" else 0)
            for value in asked if names.get(number) in ("socket", "clone", "personality") else (0,):
                where = "x86_64" if mode == "x32" else mode
                assert kernel.run(ours, where, at, value)[0] == kernel.run(theirs, where, at, value)[0], (mode, names.get(number), value)


def _installed_by_crun(folder: Path, profile: Profile) -> bytes:
    root = folder / "rootfs"
    for name in ("dev", "proc"):
        (root / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", root / "busybox")
    architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    config = {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["/busybox", "sleep", "60"], "cwd": "/", "noNewPrivileges": True},
        "root": {"path": "rootfs"},
        "mounts": [],
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}], "seccomp": {**profile, "architectures": architectures}},
    }
    (folder / "config.json").write_text(json.dumps(config))
    name = f"wherry-test-{os.getpid()}"
    crun = ["crun", "--root", str(folder / "state"), "--cgroup-manager=disabled"]
    # Not a pipe: the container would hold it open.
    with open(folder / "said", "w+") as said:
        done = subprocess.run(
            [*crun, "run", "-d", "--pid-file", "pid", name], cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
    if done.returncode:
        pytest.skip(f"crun can't run here: {(folder / 'said').read_text()}")
    try:
        pid = int((folder / "pid").read_text())
        deadline = time.monotonic() + 10
        # crun has gone when its container is still on the way to its program.
        while "Seccomp:\t2" not in Path(f"/proc/{pid}/status").read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        return kernel.filters_of(pid)[0]
    except OSError as error:
        pytest.skip(f"the kernel doesn't hand filters out: {error}")
    finally:
        subprocess.run([*crun, "delete", "-f", name], check=True)


def _unknown_to_libseccomp() -> set[str]:
    library = ctypes.CDLL("libseccomp.so.2")
    names = {name for modes in MACHINES.values() for mode in modes for name in syscalls.numbers(mode)}
    return {name for name in names if library.seccomp_syscall_resolve_name(name.encode()) == -1}

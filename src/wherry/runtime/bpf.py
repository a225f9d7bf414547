"""A profile in docker's JSON form compiled to classic BPF, as seccomp(2) takes it.

For each architecture the calls are sorted into ranges of one verdict, and a balanced tree of comparisons finds the range:
some nine steps for a call that is allowed whatever its arguments, however long the list is.
"""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.runtime import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Verdict = tuple[int, tuple[Any, ...]]
    Code = list[tuple[int, int | str, int | str, int]]

LD, JA, JEQ, JGT, JGE, AND, RET = 0x20, 0x05, 0x15, 0x25, 0x35, 0x54, 0x06
ALLOW, KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, TRACE, LOG = 0x7FFF0000, 0x80000000, 0, 0x30000, 0x50000, 0x7FF00000, 0x7FFC0000
_ACTIONS = {
    "SCMP_ACT_ALLOW": ALLOW,
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_TRAP": TRAP,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_TRACE": TRACE,
    "SCMP_ACT_LOG": LOG,
}
# AUDIT_ARCH_* (linux/audit.h)
_ARCHITECTURES = {"x86_64": 0xC000003E, "x86": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}
_SCMP_ARCH = {
    "x86_64": "SCMP_ARCH_X86_64",
    "x86": "SCMP_ARCH_X86",
    "x32": "SCMP_ARCH_X32",
    "aarch64": "SCMP_ARCH_AARCH64",
    "arm": "SCMP_ARCH_ARM",
}
_FAMILIES = {"x86_64": ("x86_64", "x86"), "aarch64": ("aarch64", "arm")}
_X32_BIT = 0x40000000
# Where arguments have 64 bits. The others' are compared by their lower half, which is all that their callers can give.
_WIDE = ("x86_64", "aarch64")
_MAX_INSTRUCTIONS = 4096


def compile_profile(profile: dict[str, Any], machine: str) -> bytes:
    """sock_filter[] for `machine` (uname -m). Raises InvalidArgument for a profile that makes no sense.

    The machine's compatible modes (32-bit programs) are those that the profile's `architectures` names, without such a list all;
    a call of any other kills the process.
    """
    if machine not in _FAMILIES:
        raise InvalidArgument(
            f"no system call filter can be made for the architecture {machine}", hint="use --security-opt seccomp=unconfined"
        )
    named = profile.get("architectures")
    default = _action(profile.get("defaultAction"), profile.get("defaultErrnoRet"))
    code: Code = [(LD, 0, 0, 4)]
    for architecture in _FAMILIES[machine]:
        if architecture != machine and not _wanted(architecture, named):
            continue
        code.append((JEQ, "skip", "next", _ARCHITECTURES[architecture]))
        code.append((JA, f"not-{architecture}", 0, 0))
        code.append((LD, 0, 0, 0))
        if architecture == "x86_64":
            code += [(JGE, "skip", "next", _X32_BIT), (JA, "native", 0, 0)]
            if _wanted("x32", named):
                _decide(code, "x32", profile, default, _X32_BIT)
            else:
                code.append((RET, 0, 0, KILL_PROCESS))
            code.append((-1, "native", 0, 0))
        _decide(code, architecture, profile, default, 0)
        code.append((-1, f"not-{architecture}", 0, 0))
    code.append((RET, 0, 0, KILL_PROCESS))
    return _assemble(code)


def _wanted(architecture: str, named: Any) -> bool:
    return named is None or _SCMP_ARCH[architecture] in named


def _decide(code: Code, architecture: str, profile: dict[str, Any], default: int, base: int) -> None:
    verdicts = _verdicts(architecture, profile, default)
    segments: list[tuple[int, Verdict]] = [(base, (default, ()))]
    for number in sorted(verdicts):
        at = base + number
        _extend(segments, at, verdicts[number])
        _extend(segments, at + 1, (default, ()))
    _tree(code, segments, f"{architecture}-", architecture in _WIDE)


def _extend(segments: list[tuple[int, Verdict]], at: int, verdict: Verdict) -> None:
    if segments[-1][0] == at:
        segments.pop()
    if segments and segments[-1][1] == verdict:
        return
    segments.append((at, verdict))


def _tree(code: Code, segments: list[tuple[int, Verdict]], prefix: str, wide: bool) -> None:
    """Emit comparisons that end in the verdict of the segment that the number in A belongs to."""
    if len(segments) == 1:
        _leaf(code, segments[0][1], prefix + str(segments[0][0]), wide)
        return
    middle = len(segments) // 2
    label = f"{prefix}{segments[middle][0]}"
    # Jumps of a comparison reach 255 instructions; the unconditional one reaches everything.
    code.append((JGE, "next", "skip", segments[middle][0]))
    code.append((JA, label, 0, 0))
    _tree(code, segments[:middle], prefix, wide)
    code.append((-1, label, 0, 0))
    _tree(code, segments[middle:], prefix, wide)


def _leaf(code: Code, verdict: Verdict, prefix: str, wide: bool) -> None:
    fixed, rules = verdict
    for index, (action, comparisons) in enumerate(rules):
        failed = f"{prefix}-rule{index}"
        for comparison in comparisons:
            _compare(code, comparison, failed, wide=wide)
        code.append((RET, 0, 0, action))
        code.append((-1, failed, 0, 0))
    code.append((RET, 0, 0, fixed))


def _compare(code: Code, comparison: tuple[int, str, int, int], failed: str, *, wide: bool) -> None:
    """Go on when the comparison holds, else to `failed`. Arguments of 64 bits: the upper half decides first."""
    index, operator, value, second = comparison
    # Bits that are wanted outside the mask are dropped, as libseccomp does, or the rule could never hold.
    masked = second & value
    if not wide and (masked if operator == "SCMP_CMP_MASKED_EQ" else value) >> 32:
        # No argument of 32 bits reaches such a value: equal or greater never holds, the opposite always.
        if operator in ("SCMP_CMP_EQ", "SCMP_CMP_GT", "SCMP_CMP_GE", "SCMP_CMP_MASKED_EQ"):
            code.append((JA, failed, 0, 0))
        return
    low, high = 16 + 8 * index, 20 + 8 * index
    want_high, want_low = value >> 32, value & 0xFFFFFFFF
    passed = f"{failed}-{len(code)}"
    if operator == "SCMP_CMP_MASKED_EQ":
        halves = ((high, want_high, masked >> 32), (low, want_low, masked & 0xFFFFFFFF))
        for offset, mask, part in halves if wide else halves[1:]:
            code += [(LD, 0, 0, offset), (AND, 0, 0, mask), (JEQ, "next", failed, part)]
        return
    if operator == "SCMP_CMP_EQ":
        upper, lower = (JEQ, "next", failed, want_high), (JEQ, "next", failed, want_low)
    elif operator == "SCMP_CMP_NE":
        upper, lower = (JEQ, "next", passed, want_high), (JEQ, failed, "next", want_low)
    elif operator in ("SCMP_CMP_GT", "SCMP_CMP_GE"):
        upper, lower = (JEQ, "next", failed, want_high), (JGT if operator.endswith("GT") else JGE, "next", failed, want_low)
    else:
        # a < b is "not a >= b"
        upper, lower = (JEQ, "next", passed, want_high), (JGE if operator.endswith("LT") else JGT, failed, "next", want_low)
    if wide:
        code.append((LD, 0, 0, high))
        if operator in ("SCMP_CMP_GT", "SCMP_CMP_GE"):
            code.append((JGT, passed, "next", want_high))
        elif operator in ("SCMP_CMP_LT", "SCMP_CMP_LE"):
            code.append((JGT, failed, "next", want_high))
        code.append(upper)
    code += [(LD, 0, 0, low), lower, (-1, passed, 0, 0)]


_OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")


def _verdicts(architecture: str, profile: dict[str, Any], default: int) -> dict[int, Verdict]:
    """Number → (action, rules on arguments that come before it). Where rules contradict each other the stricter one wins.

    libseccomp refuses most contradictions; an exception from "allow" that its author wrote down must not get lost.
    """
    numbers = syscalls.numbers(architecture)
    fixed: dict[int, int] = {}
    ruled: dict[int, list[tuple[int, tuple[tuple[int, str, int, int], ...]]]] = {}
    for rule in profile.get("syscalls") or ():
        action = _action(rule.get("action"), rule.get("errnoRet"))
        comparisons = tuple(_comparison(a) for a in rule.get("args") or ())
        for name in rule.get("names") or ([rule["name"]] if "name" in rule else ()):
            number = numbers.get(name)
            if number is None or action == default:
                continue
            if comparisons:
                ruled.setdefault(number, []).append((action, comparisons))
            else:
                fixed[number] = min(action, fixed.get(number, action), key=_strictness)
    found: dict[int, Verdict] = {}
    for number in fixed.keys() | ruled.keys():
        rest = fixed.get(number, default)
        rules = sorted(ruled.get(number, ()), key=lambda r: _strictness(r[0]))
        while rules and rules[-1][0] == rest:
            rules.pop()
        found[number] = (rest, tuple(rules))
    return found


_STRICT = (KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, TRACE, LOG, ALLOW)


def _strictness(action: int) -> int:
    """The kernel's own order of verdicts (seccomp(2)), the strictest is the smallest."""
    return _STRICT.index(action & 0xFFFF0000)


def _comparison(argument: dict[str, Any]) -> tuple[int, str, int, int]:
    operator = str(argument.get("op", ""))
    index = argument.get("index", -1)
    if operator.removeprefix("SCMP_CMP_") not in _OPERATORS or not isinstance(index, int) or not 0 <= index <= 5:
        raise InvalidArgument(f"seccomp profile: no such argument comparison: {argument}")
    return index, operator, int(argument.get("value", 0)) & 0xFFFFFFFFFFFFFFFF, int(argument.get("valueTwo", 0) or 0) & 0xFFFFFFFFFFFFFFFF


def _action(name: object, number: object) -> int:
    action = _ACTIONS.get(str(name))
    if action is None:
        raise InvalidArgument(f"seccomp profile: no such action: {name}")
    if action in (ERRNO, TRACE):
        return action | (int(number) & 0xFFFF if isinstance(number, int) else 1)
    return action


def _assemble(code: Code) -> bytes:
    """Resolve labels. "next" is the instruction behind, "skip" the one behind that."""
    places: dict[str, int] = {}
    count = 0
    for kind, first, _second, _value in code:
        if kind == -1:
            places[str(first)] = count
        else:
            count += 1
    if count > _MAX_INSTRUCTIONS:
        raise InvalidArgument(f"seccomp profile: it makes a filter of {count} instructions, more than {_MAX_INSTRUCTIONS}")
    out = bytearray()
    at = 0
    for kind, first, second, value in code:
        if kind == -1:
            continue
        if kind == JA:
            out += kind.to_bytes(2, "little") + b"\0\0" + (places[str(first)] - at - 1).to_bytes(4, "little")
        else:
            out += (
                kind.to_bytes(2, "little") + bytes((_offset(first, at, places), _offset(second, at, places))) + value.to_bytes(4, "little")
            )
        at += 1
    return bytes(out)


def _offset(target: int | str, at: int, places: dict[str, int]) -> int:
    if isinstance(target, int):
        return target
    if target in ("next", "skip"):
        return int(target == "skip")
    distance = places[target] - at - 1
    if not 0 <= distance <= 255:
        raise InvalidArgument("seccomp profile: one call has too many rules with arguments")
    return distance

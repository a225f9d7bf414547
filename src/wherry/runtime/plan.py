"""A plan: the flat list of operations that the native launcher validates and performs in order (docs/internals/plan.md)."""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument
from wherry.runtime.ops import OPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Field = int | str | bytes | Sequence[str] | Sequence[int]

MAGIC = b"WHRYPLN1"
MAX_BYTES = 16 << 20


class Plan:
    """Operations in the order in which they were added. Every one can say in a line what it will do."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, tuple[Field, ...]]] = []
        # Descriptors that the launcher gets beside the plan, by the numbers that the plan names; closed after the start.
        self.inherited: list[int] = []

    def add(self, name: str, *fields: Field) -> None:
        self.steps.append((name, fields))

    def inherit(self, fd: int) -> None:
        self.inherited.append(fd)

    def encode(self) -> bytes:
        """The plan in its wire format. Raises InvalidArgument for text with a NUL or a plan that is too large."""
        out = bytearray(MAGIC)
        for name, fields in self.steps:
            code, kinds, _phase = OPS[name]
            payload = bytearray()
            for kind, value in zip(kinds, fields, strict=True):
                _put(payload, kind, value, name)
            out += code.to_bytes(2, "little") + b"\0\0" + len(payload).to_bytes(4, "little") + payload
        if len(out) > MAX_BYTES:
            raise InvalidArgument(
                f"the container's launch plan is {len(out)} bytes, more than {MAX_BYTES}",
                hint="its environment, command line or list of mounts is too large",
            )
        return bytes(out)

    def describe(self, index: int) -> str:
        """One line for operation `index`, as `--debug` prints it and errors name it."""
        name, fields = self.steps[index]
        return " ".join([name.lower().replace("_", "-"), *(_shown(f) for f in fields)])

    def lines(self) -> list[str]:
        return [self.describe(i) for i in range(len(self.steps))]


def _put(out: bytearray, kind: str, value: Field, name: str) -> None:
    if kind == "i":
        out += value.to_bytes(8, "little", signed=True)  # type: ignore[union-attr]
    elif kind == "s":
        _put_text(out, value, name)  # type: ignore[arg-type]
    elif kind == "b":
        out += len(value).to_bytes(4, "little")  # type: ignore[arg-type]
        out += value  # type: ignore[arg-type]
    elif kind == "S":
        out += len(value).to_bytes(4, "little")  # type: ignore[arg-type]
        for text in value:  # type: ignore[union-attr]
            _put_text(out, text, name)  # type: ignore[arg-type]
    else:
        out += len(value).to_bytes(4, "little")  # type: ignore[arg-type]
        for number in value:  # type: ignore[union-attr]
            out += number.to_bytes(8, "little", signed=True)  # type: ignore[union-attr]


def _put_text(out: bytearray, text: str, name: str) -> None:
    data = os.fsencode(text)
    if 0 in data:
        raise InvalidArgument(f"{name.lower()} {text[:80]!r} holds a NUL character")
    out += len(data).to_bytes(4, "little")
    out += data


def _shown(field: Field) -> str:
    if isinstance(field, bytes):
        return f"<{len(field)} bytes>"
    if isinstance(field, str):
        return field if field and not any(c <= " " for c in field) else repr(field)
    if isinstance(field, int):
        return str(field) if -1 <= field < 1 << 16 else hex(field)
    return "[" + " ".join(_shown(f) for f in field) + "]"

"""`Record`: frozen, slotted, typed values with equality and a repr, at no import cost.

`dataclasses` would do the same and take 13 ms of every command's start, so all of wherry's records share this base:

    class Port(Record):
        number: int
        protocol: str = "tcp"

Fields are keyword or positional, in the order written; defaults must be immutable. `replace(**changes)` makes a changed copy.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self, dataclass_transform
else:

    def dataclass_transform(**_options: object):
        return lambda cls: cls


_MISSING = object()


class _RecordType(type):
    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _RecordType:
        own = [n for n in namespace.get("__annotations__", ()) if not n.startswith("__")]
        defaults = {n: namespace.pop(n) for n in own if n in namespace}
        namespace["__slots__"] = tuple(own)
        cls = super().__new__(mcs, name, bases, namespace)
        fields: dict[str, Any] = {}
        for base in reversed(cls.__mro__[1:]):
            fields.update(getattr(base, "_own_fields_", {}))
        cls._own_fields_ = {n: defaults.get(n, _MISSING) for n in own}  # type: ignore[attr-defined]
        fields.update(cls._own_fields_)  # type: ignore[attr-defined]
        cls._fields_ = fields  # type: ignore[attr-defined]
        return cls


@dataclass_transform(frozen_default=True)
class Record(metaclass=_RecordType):
    if TYPE_CHECKING:
        _fields_: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        fields = self._fields_
        if args:
            if len(args) > len(fields):
                raise TypeError(f"{type(self).__name__} takes {len(fields)} fields, got {len(args)}")
            for name, value in zip(fields, args):
                if name in kwargs:
                    raise TypeError(f"{type(self).__name__} got two values for {name}")
                kwargs[name] = value
        put = object.__setattr__
        for name, default in fields.items():
            value = kwargs.pop(name, default)
            if value is _MISSING:
                raise TypeError(f"{type(self).__name__} needs {name}")
            put(self, name, value)
        if kwargs:
            raise TypeError(f"{type(self).__name__} has no field {next(iter(kwargs))}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} can't be changed; use replace()")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} can't be deleted")

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, n) for n in self._fields_)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in self._fields_)})"

    def replace(self, **changes: Any) -> Self:
        return type(self)(**{n: getattr(self, n) for n in self._fields_} | changes)

    def __getstate__(self) -> tuple[Any, ...]:
        return self._values()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        for name, value in zip(self._fields_, state):
            object.__setattr__(self, name, value)

"""Flags of `run` and `create` that are accepted without effect, because there is nothing here that they could change."""

from __future__ import annotations

from wherry.cli.options import Option

NO_EFFECT: tuple[tuple[Option, str], ...] = (
    (Option("disable-content-trust", kind="bool", default=True, hidden=True), "no image signatures are checked"),
    (Option("isolation", hidden=True), "a choice of Windows"),
)
OPTIONS: tuple[Option, ...] = tuple(option for option, _why in NO_EFFECT)

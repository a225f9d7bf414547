"""Variables, quotes and patterns against BuildKit's and moby's tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wherry.build import ignore, patterns, words
from wherry.errors import InvalidArgument

ENV = {"PWD": "/home", "SHELL": "bash", "KOREAN": "한국어", "NULL": ""}


def text_of(text: str) -> str:
    try:
        return words.expand(text, ENV).text
    except InvalidArgument:
        return "error"


def test_expansion_table(shared: Path) -> None:
    rows = 0
    for line in (shared / "data/buildkit/shell/envVarTest").read_text(encoding="utf-8").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        platforms, text, expected = (part.strip() for part in line.split("|"))
        if platforms in "AU":
            assert text_of(text) == expected, text
            rows += 1
    assert rows > 150


def test_words_table(shared: Path) -> None:
    env: dict[str, str] = {}
    rows = 0
    for line in (shared / "data/buildkit/shell/wordsTest").read_text(encoding="utf-8").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith("ENV "):
            name, _, value = line[4:].partition("=")
            env[name.strip()] = value
            continue
        text, _, expected = line.partition(" | ")
        try:
            found = words.expand(text, env).words
        except InvalidArgument:
            found = ["error"]
        assert [w.strip() for w in found] == [w.strip() for w in expected.split(",")], text
        rows += 1
    assert rows > 15


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${P#*/}", "a/b.tar.gz"),
        ("${P##*/}", "b.tar.gz"),
        ("${P%.*}", "/a/b.tar"),
        ("${P%%.*}", "/a/b"),
        ("${P/a/X}", "/X/b.tar.gz"),
        ("${P//[a]/X}", "/a/b.tar.gz"),
        ("${P//a/X}", "/X/b.tXr.gz"),
        ("${P/\\//-}", "-a/b.tar.gz"),
        ("${P%nothing}", "/a/b.tar.gz"),
        ("${P#?}", "a/b.tar.gz"),
        ("${U-x}${E-x}${E:-y}", "xy"),
        ("${U+x}${E+x}${E:+y}", "x"),
    ],
)
def test_operators(text: str, expected: str) -> None:
    assert words.expand(text, {"P": "/a/b.tar.gz", "E": ""}).text == expected


def test_which_variables_were_used() -> None:
    found = words.expand("$a ${b:-$c} '$d'", {"a": "1"})
    assert (found.used, found.unset) == ({"a", "b", "c"}, {"c"})


def test_a_bomb_is_an_error() -> None:
    with pytest.raises(InvalidArgument, match="grows past"):
        words.expand("$a" * 100, {"a": "x" * (1 << 19)})
    with pytest.raises(InvalidArgument):
        words.expand("${a:-" * 20_000, {})


def test_dockerignore_tables(shared: Path) -> None:
    tables = json.loads((shared / "data/tables/dockerignore_patterns.json").read_text(encoding="utf-8"))
    for pattern, path, expected in tables["single"]:
        assert ignore.Ignore([pattern]).matches(path.rstrip("/") or "/") == expected, (pattern, path)
    for lines, path, expected in tables["multi"]:
        assert ignore.Ignore(lines).matches(path) == expected, (lines, path)
    for pattern, path, expected, malformed in tables["filepath_match"]:
        if malformed:
            with pytest.raises(InvalidArgument):
                ignore.Ignore([pattern])
        else:
            assert ignore.Ignore([pattern]).matches(path) == expected, (pattern, path)


def test_dockerignore_file_is_cleaned() -> None:
    assert ignore.read(b"\xef\xbb\xbf# no\n\n  /a/../b/ \n! /c\n!d\n**/x\n") == ["b", "!c", "!d", "**/x"]


def test_a_folder_is_pruned_only_when_nothing_in_it_can_come_back() -> None:
    rules = ignore.Ignore(["a", "!a/keep"])
    assert rules.matches("a/x") and not rules.matches("a/keep/y") and not rules.prunes("a") and rules.prunes("a/other")
    assert not ignore.Ignore(["a", "!**/keep"]).prunes("a")


def test_patterns_of_sources_stay_in_one_part_of_a_path() -> None:
    assert patterns.match("a*c", "abc") and not patterns.match("a*c", "ab/c") and patterns.match("[^a-c]?", "d☺")
    with pytest.raises(InvalidArgument):
        patterns.match("[", "a")

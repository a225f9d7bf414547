"""JSON without the json package: the same answers, and nothing but ValueError for what is none."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import pytest

from support.place import CHECKOUT
from wherry.model import jsontext

DOCUMENTS = (
    "null", "true", "0", "-0", "1e3", "1.5", "-12", '""', '"a\\u00e9\\n\\"\\\\"', "[]", "{}", "[1,[2,[3]],{}]", '{"a":{"b":[null,false]}}',
    ' \t\r\n{"a" : 1 , "b":[ ] } \n', '"\\ud83d\\ude00"', '{"a":1,"a":2}', "123456789012345678901234567890",
)  # fmt: skip
NONE = (
    "", " ", "nul", "NaN", "Infinity", "-Infinity", "[1", "[1,]", "{", '{"a"}', '{"a":}', "{a:1}", "'a'", '"a', "1 2", "[] []", "{}x", "01",
    '"\t"', '{"a":1,}', "\ufeff{}", "[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000,
)  # fmt: skip


@pytest.mark.parametrize("text", DOCUMENTS)
def test_documents_are_read_as_json_reads_them(text: str) -> None:
    assert jsontext.loads(text) == json.loads(text)
    assert jsontext.loads(text.encode()) == json.loads(text)


@pytest.mark.parametrize("text", NONE, ids=lambda t: repr(t[:12]))
def test_everything_else_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        jsontext.loads(text)


def made(dice: random.Random, depth: int) -> object:
    kind = dice.randrange(8 if depth else 6)
    if kind == 6:
        return [made(dice, depth - 1) for _ in range(dice.randrange(4))]
    if kind == 7:
        return {f'k{n}"\n<é': made(dice, depth - 1) for n in range(dice.randrange(4))}
    return (None, True, False, dice.randrange(-(1 << 70), 1 << 70), dice.random(), 'a"\\\x00\x1f\u2028é😀</x>')[kind]


@pytest.mark.parametrize("seed", range(50))
def test_what_is_written_is_what_json_writes(seed: int) -> None:
    value = made(random.Random(seed), 4)
    assert jsontext.loads(jsontext.dumps(value)) == value
    assert jsontext.dumps(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert jsontext.dumps(value, indent=4, sort=True) == json.dumps(value, ensure_ascii=False, indent=4, sort_keys=True)


def test_bytes_that_are_no_utf_8_survive() -> None:
    value = {"a": os.fsdecode(b"\xff\xc3\xa9"), "b": "é"}
    text = jsontext.dumps(value)
    assert text.encode() == b'{"a":"\\udcff\xc3\xa9","b":"\xc3\xa9"}'
    assert jsontext.loads(text) == value


def test_what_has_no_form_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        jsontext.dumps({"a": object()})


def test_json_is_not_imported_for_it() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(CHECKOUT / 'src')!r})\n"
        "from wherry.model import jsontext\n"
        'assert jsontext.loads(jsontext.dumps({"a": [1, "é"]})) == {"a": [1, "é"]}\n'
        "print('json' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True).stdout == "False\n"

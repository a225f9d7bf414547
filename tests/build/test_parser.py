"""The parser against BuildKit's expected dumps, and what is no Dockerfile."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import place
from wherry.build import instructions, parse, source
from wherry.build.parse import Node
from wherry.errors import BuildError

PARSER = place.SHARED / "data/buildkit/parser"


def parsed(text: str | bytes) -> parse.File:
    return parse.parse(source.read(text.encode() if isinstance(text, str) else text, "Dockerfile"))


def go_quoted(text: str) -> str:
    named = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", '"': '\\"', "\\": "\\\\"}
    return '"' + "".join(named.get(c) or (c if ord(c) >= 32 and ord(c) != 127 else f"\\x{ord(c):02x}") for c in text) + '"'


def dump(node: Node) -> str:
    """The form of BuildKit's own test files."""
    words = [node.name.lower()]
    if node.flags:
        words.append("[" + " ".join(map(go_quoted, node.flags)) + "]")
    if node.child is not None:
        words.append(f"({dump(node.child)})")
    return " ".join(words + [go_quoted(arg) for arg in node.args])


@pytest.mark.parametrize("folder", sorted((PARSER / "testfiles").glob("*")), ids=lambda p: p.name)
def test_nodes_are_as_buildkit_has_them(folder: Path) -> None:
    file = parsed((folder / "Dockerfile").read_bytes())
    assert "\n".join(f"({dump(node)})" for node in file.nodes) == (folder / "result").read_text(encoding="utf-8").strip()


@pytest.mark.parametrize("folder", sorted((PARSER / "testfiles-negative").glob("*")), ids=lambda p: p.name)
def test_what_buildkit_refuses_is_refused(folder: Path) -> None:
    with pytest.raises(BuildError):
        parsed((folder / "Dockerfile").read_bytes())


def test_line_numbers_are_buildkits(shared: Path) -> None:
    file = parsed((PARSER / "testfile-line/Dockerfile").read_bytes())
    assert [(n.span.first, n.span.last) for n in file.nodes] == [(5, 5), (11, 12), (17, 31)]


def test_real_dockerfiles_are_read(shared: Path) -> None:
    """Every Dockerfile of the reference data, and every instruction in it."""
    count = 0
    for folder in ("kaniko", "buildah-conformance", "official"):
        for path in (shared / "data" / folder).rglob("*ockerfile*"):
            if path.is_file() and not path.name.endswith("ignore"):
                for node in parsed(path.read_bytes()).nodes:
                    instructions.typed(node)
                    count += 1
    assert count > 1000


def test_crlf_and_mark_change_nothing() -> None:
    plain = parsed("FROM a\nRUN b \\\n  c\n")
    marked = parsed(b"\xef\xbb\xbfFROM a\r\nRUN b \\\r\n  c\r\n")
    assert [dump(n) for n in plain.nodes] == [dump(n) for n in marked.nodes]


def test_heredocs_several_chomped_and_quoted() -> None:
    node = parsed("FROM a\nCOPY <<one <<-'two' /d/\n1 $x\none\n\t2 $x\n\ttwo\nRUN <<E sh\nls\nE\n").nodes[1]
    assert [(h.name, h.text(), h.expands) for h in node.heredocs] == [("one", "1 $x\n", True), ("two", "2 $x\n", False)]
    assert (node.span.first, node.span.last) == (2, 6)


def test_a_heredoc_without_an_end_is_an_error() -> None:
    with pytest.raises(BuildError, match="line 2: unterminated heredoc"):
        parsed("FROM a\nRUN <<E\nls\n")


def test_a_shift_inside_quotes_is_no_heredoc() -> None:
    assert parsed('FROM a\nRUN echo "<<EOF" 1<<2\nRUN x\n2\n').nodes[1].heredocs[0].name == "2"
    assert parsed('FROM a\nRUN echo "<<EOF"\nRUN x\n').nodes[1].heredocs == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM a\nRNU x\n", "dockerfile parse error on line 2: unknown instruction: RNU (did you mean RUN?)"),
        ("# escape=x\nFROM a\n", "invalid ESCAPE 'x'. Must be ` or \\"),
        ("# escape=`\n# escape=`\nFROM a\n", "only one escape parser directive can be used"),
        ("FROM a\nENV x\n", "ENV must have two arguments"),
        ("FROM a\nENV x=1 y\n", 'can\'t find = in "y"'),
        ("FROM a b\n", "FROM requires either one or three arguments"),
        ("FROM a AS 1x\n", 'invalid name for build stage: "1x"'),
        ("FROM a\nCOPY x\n", "only one was provided. Destination could not be determined"),
        ("FROM a\nCOPY --chow=1 x y\n", "unknown flag: --chow (did you mean chown?)"),
        ("FROM a\nCOPY --chown=1 --chown=2 x y\n", "duplicate flag specified: --chown"),
        ("FROM a\nCOPY --chown x y\n", "missing a value on flag: --chown"),
        ("FROM a\nCOPY --link=maybe x y\n", "expecting boolean value for flag --link, not: maybe"),
        ("FROM a\nRUN --mount=type=cach,target=/x y\n", 'unsupported mount type "cach"'),
        ("FROM a\nRUN --mount=target=/x,size=1 y\n", "unexpected key 'size' for mount type 'bind'"),
        ("FROM a\nRUN --mount=type=cache y\n", "missing a value on mount key: target"),
        ("FROM a\nRUN --network=bridge y\n", 'invalid network mode: "bridge"'),
        ("FROM a\nONBUILD ONBUILD RUN x\n", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("FROM a\nONBUILD FROM x\n", "FROM isn't allowed as an ONBUILD trigger"),
        ("FROM a\nHEALTHCHECK NONE x\n", "HEALTHCHECK NONE takes no arguments"),
        ("FROM a\nHEALTHCHECK --interval=1us CMD x\n", "cannot be less than 1ms"),
        ("FROM a\nSHELL /bin/sh\n", "SHELL requires the arguments to be in JSON form"),
        ("FROM a\nSTOPSIGNAL\n", "STOPSIGNAL requires exactly one argument"),
    ],
    ids=lambda v: repr(v)[:40],
)
def test_errors_are_worded_as_buildkits(text: str, message: str) -> None:
    from wherry.build import graph

    with pytest.raises(BuildError) as caught:
        graph.stages(parsed(text))
    assert message in caught.value.message
    if caught.value.excerpt:
        assert ">>>" in caught.value.excerpt


def test_a_huge_file_is_refused() -> None:
    with pytest.raises(BuildError, match="it is no Dockerfile"):
        parsed(b"#" * (source.MAX_BYTES + 1))

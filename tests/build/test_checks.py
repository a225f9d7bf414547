"""Build checks: each rule where it holds and where it doesn't; what `--call` shows."""

from __future__ import annotations

import json
import subprocess

import pytest

from support.engine import Wherry
from wherry.build import checks, graph, jobs, parse, source
from wherry.build.ignore import Ignore
from wherry.build.jobs import Base
from wherry.build.rules import RULES

PLATFORM = {"TARGETPLATFORM": "linux/amd64", "TARGETARCH": "amd64", "BUILDPLATFORM": "linux/amd64"}


def said(text: str, ignore: tuple[str, ...] = ("hidden",)) -> list[str]:
    """ "Rule:line" for every finding."""
    file = parse.parse(source.read(text.encode(), "Dockerfile"))
    stages = graph.stages(file, {}, PLATFORM)

    def base(name: str, _platform: str, _stage: graph.Stage) -> Base:
        own = "linux/arm64" if name == "foreign" else "linux/amd64"
        return Base(name, "", (), (), {"Env": ["PATH=/bin"]}, (), own, {}, "linux/amd64")

    _all, order = jobs.prepare(stages, stages.stages[-1], {}, base)
    checker = checks.Checker(stages, checks.wishes(file.directives.check))
    checker.text()
    checker.bases()
    for job in order:
        checker.job(job, Ignore(ignore))
    return [f"{f.rule.name}:{f.span.first}" for f in checker.found()]


TABLE = [
    ("FROM a AS Build\n", ["StageNameCasing:1"]),
    ("FROM a as build\n", ["FromAsCasing:1"]),
    ("from a as build\n", []),
    ("FROM a\nRUN x \\\n\n  y\n", ["NoEmptyContinuation:2"]),
    ("FROM a\nRUN x \\\n# a comment\n  y\n", []),
    ("FROM a\nRUN x\nrun y\n", ["ConsistentInstructionCasing:3"]),
    ("from a\nrun x\nRUN y\n", ["ConsistentInstructionCasing:3"]),
    ("FROM a AS x\nFROM a AS x\n", ["DuplicateStageName:2"]),
    ("FROM a AS scratch\n", ["ReservedStageName:1"]),
    ("FROM a\nCMD x\n", ["JSONArgsRecommended:2"]),
    ('FROM a\nCMD ["x"]\nENTRYPOINT ["y"]\n', []),
    ('FROM a\nSHELL ["sh", "-c"]\nENTRYPOINT x\n', []),
    ("FROM a\nMAINTAINER me\n", ["MaintainerDeprecated:2"]),
    ("ARG TAG=1\nFROM a:$TGA\n", ["InvalidDefaultArgInFrom:2", "UndefinedArgInFrom:2"]),
    ("ARG TAG=1\nFROM a:$TAG\n", []),
    ("ARG TAG\nFROM a:${TAG:-1}\n", []),
    ("FROM a\nWORKDIR sub\n", ["WorkdirRelativePath:2"]),
    ("FROM a\nWORKDIR /x\nWORKDIR sub\n", []),
    ("FROM a AS b\nWORKDIR /x\nFROM b\nWORKDIR sub\n", []),
    ("FROM a\nENV X=$Y\n", ["UndefinedVar:2"]),
    ("FROM a\nARG Y\nENV X=$Y P=$PATH Q=${Z:-1}\n", []),
    ("FROM a\nRUN echo $Y\n", []),
    ('FROM a\nCMD ["x"]\nCMD ["y"]\n', ["MultipleInstructionsDisallowed:2"]),
    ("FROM a\nHEALTHCHECK CMD x\nHEALTHCHECK NONE\n", ["MultipleInstructionsDisallowed:2"]),
    ("FROM a\nENV X y\nLABEL z w\n", ["LegacyKeyValueFormat:2", "LegacyKeyValueFormat:3"]),
    ("FROM foreign\n", ["InvalidBaseImagePlatform:1"]),
    ("FROM --platform=$TARGETPLATFORM a\n", ["RedundantTargetPlatform:1"]),
    ("FROM --platform=$BUILDPLATFORM a\n", []),
    ("FROM a\nARG GITHUB_TOKEN\nENV API_KEY=1\n", ["SecretsUsedInArgOrEnv:2", "SecretsUsedInArgOrEnv:3"]),
    ("FROM a\nARG PUBLIC_KEY TOKENIZER KEY_FILE\n", []),
    ("ARG IMAGE\nFROM ${IMAGE:-}x:\n", ["InvalidDefaultArgInFrom:2"]),
    ("FROM --platform=linux/arm64 a\n", ["FromPlatformFlagConstDisallowed:1"]),
    ("FROM --platform=linux/arm64 a AS build-arm64\n", []),
    ("FROM a\nCOPY hidden /\nADD ./hidden/x /\nCOPY shown /\n", ["CopyIgnoredFile:2", "CopyIgnoredFile:3"]),
    ("FROM a\nCOPY . /\nCOPY --from=a hidden /\n", []),
    ("# check=experimental=all\n# what it is\n\nFROM a AS build\n", []),
    ("# check=experimental=all\n\n# what it is\nARG X=1\nFROM a\n", ["InvalidDefinitionDescription:4"]),
    ("# check=experimental=InvalidDefinitionDescription\n\n# X what it is\nARG X=1\nFROM a\n", []),
    ("ARG X=1\n# what it is\nFROM a AS b\n", []),
    ("FROM a\nEXPOSE 80/TCP\n", ["ExposeProtoCasing:2"]),
    ("FROM a\nEXPOSE 8080:80\nEXPOSE 127.0.0.1:80:80\n", ["ExposeInvalidFormat:2", "ExposeInvalidFormat:3"]),
    ("# check=skip=JSONArgsRecommended,MaintainerDeprecated\nFROM a\nCMD x\nMAINTAINER y\n", []),
    ("# check=skip=all\nFROM a\nCMD x\n", []),
    ("FROM a\n# check=skip=JSONArgsRecommended\nCMD x\n", []),
]


@pytest.mark.parametrize(("text", "expected"), TABLE, ids=[text.replace("\n", "|")[:40] for text, _ in TABLE])
def test_a_rule_holds_where_it_should(text: str, expected: list[str]) -> None:
    assert sorted(said(text)) == sorted(expected)


def test_all_rules_are_in_the_table() -> None:
    assert len(RULES) == 22
    assert {name.partition(":")[0] for _text, expected in TABLE for name in expected} == set(RULES)


def test_check_outline_and_targets(w_root: Wherry) -> None:
    folder = w_root.folder("checks")
    dockerfile = folder / "Dockerfile"
    dockerfile.write_text(
        "ARG V=1\n# tools what is needed\nFROM busybox AS tools\nARG WHO=me\nRUN --mount=type=secret,id=t,required=true true\nFROM tools\nCMD x\n"
    )
    subprocess.run(["chown", "-R", str(w_root.user.uid), str(folder)], check=True)
    done = w_root("build", "--check", folder)
    assert done.returncode == 1
    assert done.stdout.startswith("Check complete, 1 warning has been found!\n\nWARNING: JSONArgsRecommended - https://")
    assert " 7 | >>> CMD x" in done.stdout
    found = json.loads(w_root("build", "--call", "check,format=json", folder).stdout)
    assert [(x["ruleName"], x["location"]["ranges"][0]["start"]["line"]) for x in found["warnings"]] == [("JSONArgsRecommended", 7)]
    outline = json.loads(w_root.ok("build", "--call=outline,format=json", folder))
    assert outline["args"] == [{"name": "V", "value": "1"}, {"name": "WHO", "value": "me"}]
    assert outline["secrets"] == [{"name": "t", "required": True}]
    assert w_root.ok("build", "--call=targets", folder).split() == "TARGET DESCRIPTION tools what is needed (default)".split()
    built = w_root("build", "--secret", "id=t,src=/etc/hostname", folder)
    assert built.returncode == 0
    assert "1 warning found (use --check to expand):\n - JSONArgsRecommended: JSON" in built.stderr
    dockerfile.write_text("# check=error=true\nFROM busybox\nCMD x\n")
    built = w_root("build", folder)
    assert built.returncode == 1
    assert "ERROR: failed to build: failed to solve: lint violation found for rules: JSONArgsRecommended" in built.stderr

"""Words on the command line: pflag's rules, docker's messages, and every flag of docker and podman known by name."""

from __future__ import annotations

import re
from typing import Any

import pytest

from support.place import SHARED
from wherry.cli import create_options, refused, table
from wherry.cli.options import FlagError, Help, Option, nearest, parse
from wherry.errors import InvalidArgument, WherryError

OPTIONS = (
    Option("all", "a", "bool"),
    Option("env", "e", "list"),
    Option("name", "n"),
    Option("proxy", kind="bool", default=True),
    Option("time", "t", "int", 10),
)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--name x y", {"name": "x", "words": ["y"]}),
        ("--name=x", {"name": "x"}),
        ("--name= x", {"name": "", "words": ["x"]}),
        ("-n x", {"name": "x"}),
        ("-nx", {"name": "x"}),
        ("-n=x", {"name": "x"}),
        ("-n=", {"name": "="}),
        ("-anx", {"all": True, "name": "x"}),
        ("-an x y", {"all": True, "name": "x", "words": ["y"]}),
        ("-a=false", {"all": False}),
        ("--proxy=0", {"proxy": False}),
        ("--all --all=F", {"all": False}),
        ("-e A=1 -eB --env=C=a=b", {"env": ["A=1", "B", "C=a=b"]}),
        ("x -a y", {"all": True, "words": ["x", "y"]}),
        ("-- -a", {"all": False, "words": ["-a"]}),
        ("- x", {"words": ["-", "x"]}),
        ("-t -1", {"time": -1}),
        ("--time=0x10", {"time": 16}),
        ("--time 010", {"time": 8}),
        ("--time 1_0", {"time": 10}),
        ("", {"all": False, "env": [], "name": "", "proxy": True, "time": 10, "words": []}),
    ],
)
def test_words_as_pflag_reads_them(words: str, expected: dict[str, Any]) -> None:
    found = parse(OPTIONS, words.split(" ") if words else [])
    assert {k: getattr(found, k) for k in expected} == expected


def test_what_follows_the_image_belongs_to_the_container() -> None:
    found = parse(OPTIONS, ["-a", "image", "-n", "--", "x"], interspersed=False)
    assert (found.all, found.name, found.words) == (True, "", ["image", "-n", "--", "x"])
    assert parse(OPTIONS, ["--", "-a"], interspersed=False).words == ["-a"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--nope", "unknown flag: --nope"),
        ("-x", "unknown shorthand flag: 'x' in -x"),
        ("-ax", "unknown shorthand flag: 'x' in -ax"),
        ("--name", "flag needs an argument: --name"),
        ("-n", "flag needs an argument: 'n' in -n"),
        ("-an", "flag needs an argument: 'n' in -n"),
        ("-a=maybe", 'invalid argument "maybe" for "-a, --all" flag: strconv.ParseBool: parsing "maybe": invalid syntax'),
        ("--proxy=2", 'invalid argument "2" for "--proxy" flag: strconv.ParseBool: parsing "2": invalid syntax'),
        ("-t x", 'invalid argument "x" for "-t, --time" flag: strconv.ParseInt: parsing "x": invalid syntax'),
        ("-t 1.5", 'invalid argument "1.5" for "-t, --time" flag: strconv.ParseInt: parsing "1.5": invalid syntax'),
        ("-t 0x", 'invalid argument "0x" for "-t, --time" flag: strconv.ParseInt: parsing "0x": invalid syntax'),
        (f"-t {10**19}", f'invalid argument "{10**19}" for "-t, --time" flag: strconv.ParseInt: parsing "{10**19}": value out of range'),
    ],
)  # fmt: skip
def test_messages_are_pflag_s(words: str, text: str) -> None:
    with pytest.raises(FlagError) as caught:
        parse(OPTIONS, words.split())
    assert (caught.value.message, caught.value.exit_code, caught.value.daemon) == (text, 125, False)


@pytest.mark.parametrize("words", ["--help", "-h", "x --help", "-ah"])
def test_help_is_known_everywhere(words: str) -> None:
    with pytest.raises(Help):
        parse(OPTIONS, words.split())


def test_the_nearest_flag_is_named() -> None:
    with pytest.raises(FlagError) as caught:
        parse(OPTIONS, ["--nmae", "x"])
    assert caught.value.hint == "Did you mean --name?"
    assert nearest("zzzzzz", ["name", "all"]) == ""
    assert nearest("rnu", ["rm", "rmi", "run"]) == "run"


def test_a_value_s_check_makes_the_value_or_the_message() -> None:
    def upper(text: str) -> str:
        if not text:
            raise InvalidArgument("empty")
        return text.upper()

    assert parse((Option("x", check=upper),), ["--x", "a"]).x == "A"
    assert parse((Option("x", kind="list", check=upper),), ["--x", "a", "--x=b"]).x == ["A", "B"]
    with pytest.raises(FlagError, match='invalid argument "" for "--x" flag: empty'):
        parse((Option("x", check=upper),), ["--x="])
    with pytest.raises(InvalidArgument) as caught:
        parse((Option("x", check=upper, late=True),), ["--x="])
    assert not isinstance(caught.value, FlagError)


# -- run and create ------------------------------------------------------------------------------------------------------------


def asked(*words: str) -> Any:
    return create_options.request(parse(create_options.RUN_OPTIONS, list(words), interspersed=False, later="run"), detach=False)


def test_a_request_has_docker_s_shape() -> None:
    words = "-it -e A=1 -l k=v -l bare --expose 80-81 --expose 53/udp --shm-size 1m busybox sh -c x"
    found = asked(*words.split())
    assert (found.image, found.config["Cmd"], found.config["Env"]) == ("busybox", ["sh", "-c", "x"], ["A=1"])
    assert found.config["Labels"] == {"k": "v", "bare": ""}
    assert found.config["ExposedPorts"] == {"80/tcp": {}, "81/tcp": {}, "53/udp": {}}
    assert [found.config[k] for k in ("Tty", "OpenStdin", "StdinOnce", "AttachStdin", "AttachStdout", "Entrypoint")] == [True] * 5 + [None]
    assert found.host["ShmSize"] == 1 << 20 and found.host["Init"] is None and found.host["RestartPolicy"]["Name"] == "no"


def test_streams_that_are_attached() -> None:
    def streams(*words: str) -> set[str]:
        return set(create_options.attached_streams(parse(create_options.RUN_OPTIONS, [*words, "busybox"], interspersed=False)))

    assert streams() == {"stdout", "stderr"}
    assert streams("-i") == {"stdin", "stdout", "stderr"}
    assert streams("-a", "STDERR") == {"stderr"}
    assert streams("-i", "-a", "stdout") == {"stdout"}


def test_an_empty_entrypoint_is_not_none() -> None:
    assert asked("--entrypoint", "", "busybox").config["Entrypoint"] == [""]
    assert asked("busybox").config["Entrypoint"] is None


@pytest.mark.parametrize(
    ("words", "text", "daemon"),
    [
        (["--pull", "often", "busybox"], "invalid pull option: 'often': must be one of \"always\", \"missing\" or \"never\"", False),
        (["--pid", "x", "busybox"], "--pid: invalid PID mode", False),
        (["--uts", "container:x", "busybox"], "--uts: invalid UTS mode", False),
        (["--cgroupns", "x", "busybox"], "--cgroupns: invalid CGROUP mode", False),
        (["--ipc", "x", "busybox"], "invalid IPC mode: x", True),
        (["--log-driver", "none", "--log-opt", "a=b", "busybox"], "invalid logging opts for driver none", False),
        (["--rm", "--restart", "always", "busybox"], "conflicting options: cannot specify both --restart and --rm", False),
        (["--restart", "always:3", "busybox"], "invalid restart policy: maximum retry count can only be used with 'on-failure'", True),
        (["--restart", "on-failure:x", "busybox"], "invalid restart policy format: maximum retry count must be an integer", False),
        (["--security-opt", "x", "busybox"], 'Invalid --security-opt: "x"', False),
        (["--security-opt", "seccomp=/nope", "busybox"], "opening seccomp profile (/nope) failed: open /nope: no such file or directory", False),
        (["--env-file", "/nope", "busybox"], "open /nope: no such file or directory", False),
        (["--workdir", "x", "busybox"], "the working directory 'x' is invalid, it needs to be an absolute path", True),
        (["--stop-signal", "X", "busybox"], "invalid signal: X", True),
        (["--expose", "x", "busybox"], 'invalid range format for --expose: x, error: strconv.ParseUint: parsing "x": invalid syntax', False),
        (["--device", "/a:/b:rx", "busybox"], "bad mode specified: rx", False),
        (["Busybox"], "invalid reference format: repository name (library/Busybox) must be lowercase", False),
        (["-v", "", "busybox"], "invalid empty volume spec", False),
        (["-v", "/a:/b:ro:x", "busybox"], "invalid spec: /a:/b:ro:x: too many colons", False),
        (["-v", "/a:/b:x", "busybox"], "invalid mode: x", True),
        (["--mount", "type=bind,target=/t", "busybox"], 'invalid mount config for type "bind": field Source must not be empty', True),
    ],
)  # fmt: skip
def test_values_that_make_no_sense(words: list[str], text: str, daemon: bool) -> None:
    with pytest.raises(WherryError) as caught:
        asked(*words)
    assert (caught.value.message, caught.value.daemon) == (text, daemon)


# -- the surface ---------------------------------------------------------------------------------------------------------------


def known_flags() -> dict[str, list[tuple[str, str]]]:
    """{command: [(flag, letters of the engines that have it)]} of the reference page of all engines' flags."""
    place = SHARED / "reference/flags.md"
    if not place.exists():
        pytest.skip(f"{place} is not here")
    found: dict[str, list[tuple[str, str]]] = {}
    command = ""
    for line in place.read_text().splitlines():
        head = re.match(r"\*\*(.+)\*\*", line)
        if head:
            command = head[1]
        elif line.startswith("`-"):
            found[command] = [(m[1], m[2] or "DPN") for m in re.finditer(r"`--([a-z0-9-]+)`(?:\[([A-Z]+)\])?", line)]
    return found


COMMANDS = (
    "run create exec ps images inspect logs start stop restart kill rm rmi rename wait attach import load tag history container_prune "
    "image_prune system_df system_prune info version"
).split()


@pytest.mark.parametrize("module", COMMANDS)
def test_every_flag_of_docker_and_podman_is_taken_or_refused_with_a_reason(module: str) -> None:
    flags = known_flags()[module.replace("_", " ")] if module not in ("rename", "tag") else []
    name = {"import": "import_"}.get(module, module)
    options = __import__(f"wherry.cli.commands.{name}", fromlist=["OPTIONS"]).OPTIONS
    known = {o.name for o in options} | set(refused.reasons(name)) | {"help"}
    assert [f for f, engines in flags if set(engines) & {"D", "P"} and f not in known] == []
    assert [f for f in refused.reasons(name) if f in {o.name for o in options} | {o.short for o in options}] == []


def test_a_refusal_names_flag_and_reason() -> None:
    with pytest.raises(FlagError) as caught:
        asked("--pod", "p", "busybox")
    assert caught.value.message.startswith("flag --pod is not supported yet: ")
    with pytest.raises(FlagError, match="flag --cgroup-parent is not supported yet: "):
        asked("--cgroup-parent=x", "busybox")


def test_options_of_a_command_have_names_of_their_own() -> None:
    for module, _summary in table.COMMANDS.values():
        options = __import__(f"wherry.cli.commands.{module}", fromlist=["OPTIONS"]).OPTIONS
        names = [o.name for o in options] + [o.short for o in options if o.short]
        assert len(names) == len(set(names)), module

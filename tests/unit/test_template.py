"""--format as Go and docker execute it, over documents and over rows."""

from __future__ import annotations

from typing import Any

import pytest

from wherry.cli.template import compile_template, list_output
from wherry.cli.template_parse import TemplateError

DOCUMENT: dict[str, Any] = {
    "Id": "0123",
    "Name": "/cx",
    "Config": {"Cmd": ["a", "b"], "Env": ["A=1", "B=2"], "Labels": {"k": "v", "a.b": "<c>"}, "Entrypoint": None, "ExposedPorts": None},
    "State": {"Running": False, "ExitCode": 3, "Status": "exited"},
    "Mounts": [{"Type": "bind", "Source": "/a", "Destination": "/b", "RW": True}],
    "HostConfig": {"Init": None, "Memory": 67108864, "NanoCpus": 0, "Binds": None},
    "NetworkSettings": {"Networks": {"none": {"IPAddress": "", "IPPrefixLen": 0}}, "Ports": {"80/tcp": [{"HostPort": "8080"}]}},
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{.Name}}", "/cx"),
        ("{{.ID}} {{.config.cmd}}", "0123 [a b]"),
        ("{{ .State.ExitCode }}{{.State.Running}}", "3false"),
        ("{{.Config.Labels}} {{.Config.Cmd}}", "map[a.b:<c> k:v] [a b]"),
        ('{{index .Config.Labels "a.b"}}|{{index .Config.Labels "none"}}|{{.Config.Labels.none}}', "<c>||<no value>"),
        ("{{index .Config.Cmd 1}} {{index .Mounts 0 \"Source\"}}", "b /a"),
        ("{{.Config.Entrypoint}} {{json .Config.Entrypoint}} {{len .Config.Entrypoint}} {{.Config.ExposedPorts}}", "[] null 0 map[]"),
        ("{{.HostConfig.Init}} {{.HostConfig.Memory}} {{.HostConfig.Binds}}", "<nil> 67108864 []"),
        ("{{.State.Health}}{{if .State.Health}}{{.State.Health.Status}}{{end}}", "<nil>"),
        ("{{.Config.StopSignal}}{{range .Mounts}}{{.Name}}{{.Source}}{{end}}", "/a"),
        ("{{json .Config.Env}} {{json .Name}} {{json .State}}", '["A=1","B=2"] "/cx" {"Running":false,"ExitCode":3,"Status":"exited"}'),
        ("{{range .Config.Env}}<{{.}}>{{else}}none{{end}}", "<A=1><B=2>"),
        ("{{range .HostConfig.Binds}}x{{else}}none{{end}}", "none"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a.b=<c>;k=v;"),
        ("{{range $i, $e := .Config.Env}}{{if $i}},{{end}}{{$e}}{{end}}", "A=1,B=2"),
        ("{{$first := true}}{{range .Config.Env}}{{if not $first}},{{end}}{{$first = false}}{{.}}{{end}}", "A=1,B=2"),
        ("{{range .Config.Env}}{{if eq . \"B=2\"}}{{break}}{{end}}{{.}}{{end}}", "A=1"),
        ("{{range .Config.Env}}{{if eq . \"A=1\"}}{{continue}}{{end}}{{.}}{{end}}", "B=2"),
        ("{{range .NetworkSettings.Networks}}{{.IPPrefixLen}}{{end}}", "0"),
        ("{{range $p, $c := .NetworkSettings.Ports}}{{$p}} -> {{(index $c 0).HostPort}}{{end}}", "80/tcp -> 8080"),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"),
        ("{{.NetworkSettings.Networks.other.IPAddress}}", "<no value>"),
        ("{{with .State}}{{.Status}}{{end}}{{with .HostConfig.Init}}x{{else}}-{{end}}", "exited-"),
        ("{{with $s := .State}}{{$s.Status}} {{$.Name}}{{end}}", "exited /cx"),
        ("{{if .State.Running}}up{{else if eq .State.ExitCode 3}}three{{else}}down{{end}}", "three"),
        ("{{if and (eq .State.ExitCode 3) (ne .Name \"x\")}}y{{end}}{{if or .State.Running .Id}}z{{end}}", "yz"),
        ("{{and .State.Running (index .HostConfig.Init 1)}}", "false"),
        ("{{eq .State.ExitCode 1 2 3}} {{lt 1 2}} {{ge 2 2}} {{gt \"b\" \"a\"}}", "true true true true"),
        ("{{.Name | printf \"%s-\" | len}}", "4"),
        ('{{printf "%-5s|%5d|%q|%v|%t|%05d|%x" .Id .State.ExitCode .Name .Config.Cmd .State.Running 42 255}}', '0123 |    3|"/cx"|[a b]|false|00042|ff'),
        ('{{printf "%d%%" "x"}} {{printf "%s"}} {{printf "a" 1}}', "%!d(string=x)% %!s(MISSING) a%!(EXTRA int=1)"),
        ('{{join .Config.Cmd "-"}} {{upper .Name}} {{lower "AB"}} {{title "two words"}} {{split "a,b" ","}}', "a-b /CX ab Two Words [a b]"),
        ("{{truncate .Id 2}} {{truncate .Id 9}}|{{pad .Id 1 2}}|{{pad \"\" 1 2}}|", "01 0123| 0123  ||"),
        ("{{len .Config.Env}} {{len .Name}} {{len \"ä\"}} {{slice .Name 1}} {{slice .Config.Env 0 1}}", "2 3 2 cx [A=1]"),
        ("{{println .Id 1}}x", "0123 1\nx"),
        ("a {{- .Id -}} b {{- /* a comment */ -}} c{{/* }} */}}", "a0123bc"),
        ("{{`raw \\n`}} {{\"\\t\\x41\\u00e9\"}} {{'a'}}", "raw \\n \tAé 97"),
        ("{{true}} {{nil | json}} {{1.5}} {{0x10}}", "true null 1.5 16"),
        ("{{html \"<a href='x'>\"}} {{urlquery \"a b&c\"}}", "&lt;a href=&#39;x&#39;&gt; a+b%26c"),
        ("no action", "no action"),
        ("", ""),
    ],
)  # fmt: skip
def test_documents(template: str, expected: str) -> None:
    assert compile_template(template)(DOCUMENT) == expected


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Name", "template: :1: unclosed action"),
        ("a\nb{{.Name", "template: :2: unclosed action"),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{if .Name}}x", "template: :1: unexpected EOF"),
        ("{{nope .Name}}", 'template: :1: function "nope" not defined'),
        ("{{}}", "template: :1: missing value for command"),
        ("{{.Name | }}", "template: :1: missing value for command"),
        ("{{(.Name}}", "template: :1: unclosed left paren"),
        ("{{.Name)}}", "template: :1: unexpected right paren"),
        ('{{"x}}', "template: :1: unterminated quoted string"),
        ("{{range}}{{end}}", "template: :1: missing value for range"),
        ("{{break}}", "template: :1: {{break}} outside {{range}}"),
        ('{{template "x"}}', "template: :1: {{template}} is not supported"),
    ],
)
def test_templates_that_can_not_be_parsed(template: str, text: str) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template(template)
    assert (caught.value.message, caught.value.exit_code) == ("template parsing error: " + text, 64)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Nope}}", ':1:2: executing "" at <.Nope>: map has no entry for key "Nope"'),
        ("x {{ .State.Nope }}", ':1:5: executing "" at <.State.Nope>: map has no entry for key "Nope"'),
        ("\n{{.Nope}}", ':2:2: executing "" at <.Nope>: map has no entry for key "Nope"'),
        ("{{.State.Health.Status}}", ':1:2: executing "" at <.State.Health.Status>: nil pointer evaluating field Status'),
        ("{{.Name.First}}", ':1:2: executing "" at <.Name.First>: can\'t evaluate field First in type str'),
        ('{{eq .State.Running "false"}}', ':1:2: executing "" at <eq>: error calling eq: incompatible types for comparison'),
        ("{{index .Config.Cmd 9}}", ':1:2: executing "" at <index>: error calling index: index out of range: 9'),
        ("{{index nil 0}}", ':1:2: executing "" at <index>: error calling index: index of untyped nil'),
        ("{{.Name 1}}", ':1:2: executing "" at <.Name>: can\'t give argument to non-function .Name'),
        ("{{$x}}", ':1:2: executing "" at <$x>: undefined variable: $x'),
        ("{{upper .Config.Cmd}}", ':1:2: executing "" at <upper>: error calling upper: wrong type for value; expected string; got slice'),
        ("{{join}}", ':1:2: executing "" at <join>: error calling join: wrong arguments for join'),
        ("{{range .Name}}{{end}}", ":1:0: "),
    ],
)
def test_templates_that_fail(template: str, text: str) -> None:
    render = compile_template(template)
    with pytest.raises(TemplateError) as caught:
        render(DOCUMENT)
    if text != ":1:0: ":
        assert caught.value.message == "template parsing error: template: " + text
    assert (caught.value.exit_code, caught.value.daemon) == (1, False)


HEADERS = {"ID": "CONTAINER ID", "Names": "NAMES", "Label": lambda key: key.upper()}
ROWS = [{"ID": "01", "Names": "<one>", "Label": lambda key: "l1" + key}, {"ID": "02", "Names": "two", "Label": lambda key: "l2" + key}]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("{{.ID}}", "01\n02\n"),
        ("{{.ID}}\\t{{.Names}}\\n-", "01\t<one>\n-\n02\ttwo\n-\n"),
        ("  {{.ID}}  ", "01\n02\n"),
        ("json", '{"ID":"01","Names":"\\u003cone\\u003e"}\n{"ID":"02","Names":"two"}\n'),
        ("{{json .}}", '{"ID":"01","Names":"\\u003cone\\u003e"}\n{"ID":"02","Names":"two"}\n'),
        ("{{json .Names}}", '"<one>"\n"two"\n'),
        ('{{.Label "k"}}', "l1k\nl2k\n"),
        ("table {{.ID}}\\t{{.Names}}", "CONTAINER ID   NAMES\n01             <one>\n02             two\n"),
        ('table {{upper .Names}}\t{{truncate .ID 1}}\t{{.Label "k"}}',
         "NAMES     CONTAINER ID   K\n<ONE>     0              l1k\nTWO       0              l2k\n"),
    ],
)  # fmt: skip
def test_rows(form: str, expected: str) -> None:
    assert list_output(form, HEADERS, ROWS) == expected


def test_rows_that_have_no_such_field() -> None:
    for form in ("{{.Health}}", "table {{.Health}}"):
        with pytest.raises(TemplateError, match="failed to execute template: .*can't evaluate field Health"):
            list_output(form, HEADERS, ROWS)
    with pytest.raises(TemplateError, match="failed to parse template: template: :1: unclosed action"):
        list_output("{{.ID", HEADERS, ROWS)
    assert list_output("{{.Nope}}", HEADERS, []) == ""


NONSENSE = (
    "{{ }} {{{{}}}} {{((((( {{- {{range_range}} {{else}} {{if}}{{else_if}}{{end}} {{$_:=_}} {{.._.}} {{|}} {{=}} {{/* {{index}} {{and}} {{'}} "
    "{{printf}} {{$}} {{.}} {{..}} {{()}} {{(.).Id}} {{range_.}}{{.}}{{end}} {{-1}} {{1.2.3}} {{slice_.Id_9}} {{len_nil}} {{json}}"
).split()


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_is_text_or_an_error_of_ours(text: str) -> None:
    try:
        compile_template(text.replace("_", " "))(DOCUMENT)
    except TemplateError:
        return

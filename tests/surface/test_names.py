"""The command under other names, completion, manual pages, topics, contexts."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from support.engine import Wherry
from wherry.cli import table


def test_links_make_it_the_other_program(w_user: Wherry) -> None:
    w = w_user
    folder = w.folder("bin")
    assert len(w.ok("alias", "install", folder).splitlines()) == 3
    w.ok("alias", "install", folder, "docker")
    words = [str(folder / "docker"), *w.words()[1:]]
    done = w.host(folder / "docker", "--version")
    assert done.stdout.startswith("Docker version ") and "wherry" in done.stdout
    done = w.host(*words, "run", "--rm", "busybox", "nothing")
    assert done.returncode == 127 and done.stderr.startswith("docker: Error response from daemon: ")
    assert "Run 'docker run --help'" in done.stderr
    assert w.host(folder / "podman", "--version").stdout.startswith("podman version ")
    (folder / "podman").unlink()
    (folder / "podman").write_text("mine")
    assert "--force" in w("alias", "install", folder, "podman").stderr
    assert (folder / "podman").read_text() == "mine"
    w.ok("alias", "install", "--remove", folder)
    assert [p.name for p in folder.iterdir()] == ["podman"]
    assert w("alias", "install", folder, "rm").returncode == 1


def test_contexts_and_hosts(w_user: Wherry) -> None:
    w = w_user
    assert w.ok("context", "show") == w.ok("context", "ls", "-q") == w.ok("context", "use", "default") == "default"
    assert w.ok("context", "inspect", "-f", "{{.Name}}") == "default"
    assert "default *" in w.ok("context", "ls")
    assert w.ok("--context", "default", "--storage-driver", "overlay", "-H", "", "context", "show") == "default"
    for words in (["--context", "x"], ["-H", "tcp://1.2.3.4"], ["--storage-driver", "vfs"]):
        assert w(*words, "ps").returncode == 1
    assert w("context", "use", "x").returncode == 1 and w("context", "inspect", "x").returncode == 1


def complete(w: Wherry, *words: str) -> list[str]:
    return w.ok("__complete", *words).split()


def test_completion(w_user: Wherry) -> None:
    w = w_user
    w.ok("create", "--name", "boat", "busybox")
    assert "run" in complete(w, "r") and "ps" not in complete(w, "r")
    assert complete(w, "container", "ren") == ["rename"]
    assert "--restart" in complete(w, "run", "--re") and complete(w, "run", "--restart", "un") == ["unless-stopped"]
    assert complete(w, "rm", "bo") == ["boat"] and complete(w, "stop", "bo") == []
    assert complete(w, "run", "-it", "bus") == ["busybox:latest"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_of_completion(w_user: Wherry, shell: str) -> None:
    script = w_user.ok("completion", shell)
    assert "wherry __complete" in script and "PROGRAM" not in script
    if shutil.which(shell):
        assert subprocess.run([shell, "-n", "/dev/stdin"], input=script, text=True).returncode == 0
    if shell == "bash":
        code = f'{script}\nwherry() {{ printf "%s\\n" rename restart; }}\nCOMP_WORDS=(wherry re) COMP_CWORD=1; _wherry_complete; echo "${{COMPREPLY[*]}}"'
        assert subprocess.run(["bash", "-c", code], capture_output=True, text=True).stdout.split() == ["rename", "restart"]


def test_manual_pages(w_user: Wherry) -> None:
    w = w_user
    folder = w.folder("man")
    w.ok("man", "--install", folder)
    pages = {p.name for p in folder.iterdir()}
    assert {"wherry.1", "wherry-run.1", "wherry-container-ls.1"} <= pages
    assert len(pages) == 1 + sum(1 for _m, summary in table.COMMANDS.values() if summary)
    assert "\\-\\-detach" in w.ok("man", "run")
    if shutil.which("groff"):
        for page in ("wherry.1", "wherry-run.1"):
            done = subprocess.run(["groff", "-Kutf8", "-man", "-Tutf8", "-ww", str(folder / page)], capture_output=True, text=True)
            assert done.returncode == 0 and not done.stderr


def test_topics_and_suggestions(w_user: Wherry) -> None:
    w = w_user
    assert "137" in w.ok("help", "exit-codes")
    assert w.ok("help", "run") == w.ok("run", "--help")
    done = w("help", "exit-code")
    assert done.returncode == 1 and "Did you mean: exit-codes?" in done.stderr
    assert "Did you mean: restart?" in w("restrat").stderr
    assert "Did you mean --restart?" in w("run", "--restrat=no", "busybox").stderr
    overview = w.ok("--help")
    from wherry.cli.topics import TOPICS

    assert all(topic in overview for topic in TOPICS)
    assert all(len(line) <= 140 for text in TOPICS.values() for line in text.splitlines())


def test_every_command_says_what_it_does() -> None:
    for path, (_module, summary) in table.COMMANDS.items():
        if summary:
            assert summary[0].isupper() and not summary.endswith("."), path

"""`completion`: a script for a shell."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "bash|zsh|fish"
OPTIONS: tuple[Option, ...] = ()

_BASH = """# completion of PROGRAM for bash: source it, or put it into /etc/bash_completion.d
_PROGRAM_complete() {
    local IFS=$'\\n'
    COMPREPLY=($(PROGRAM __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    if [ ${#COMPREPLY[PROGRAM]} -eq 1 ] && [[ ${COMP_WORDS[COMP_CWORD]} == *:* ]]; then
        COMPREPLY=("${COMPREPLY[0]#"${COMP_WORDS[COMP_CWORD]%"${COMP_WORDS[COMP_CWORD]##*:}"}"}")
    fi
}
complete -o default -F _PROGRAM_complete PROGRAM
"""
_ZSH = """#compdef PROGRAM
# completion of PROGRAM for zsh: put it as _PROGRAM into a folder of $fpath, or source it after compinit
_PROGRAM() {
    local -a found
    found=("${(@f)$(PROGRAM __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if (( ${#found} && ${#found[1]} )); then
        compadd -a found
    else
        _files
    fi
}
compdef _PROGRAM PROGRAM
"""
_FISH = """# completion of PROGRAM for fish: put it into ~/.config/fish/completions/PROGRAM.fish
complete -c PROGRAM -a '(set -l words (commandline -opc) (commandline -ct); PROGRAM __complete $words[2..-1] 2>/dev/null)'
"""


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 1)
    script = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}.get(parsed.words[0])
    if script is None:
        raise UsageError(f"{parsed.words[0]}: no shell that there is a completion for", hint="bash, zsh or fish")
    context.out(script.replace("PROGRAM", context.program))
    return 0

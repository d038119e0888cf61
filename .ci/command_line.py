"""Writes what is made from the commands' parsers: docs/command_line.md and completions/.

`python .ci/command_line.py` writes the files; with --check it names those that are out of step
and ends with 1. `COMMANDS` is all there are.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
COMMANDS = {  # the module that is run: the one with its `command_parser`
    "training.train": "training.train",
    "training.export": "training.export",
    "training.evaluate": "training.evaluate",
    "training.table": "training.table",
    "training.sweep": "training.sweep",
    "hw_build.flow": "hw_build.flow",
    "deploy": "deploy.commands",
}
SHELLS = ("bash", "zsh", "fish")

PAGE = """\
# The command line

Every command says what it does with `--help`, as below. On a terminal there are colours (none with
`NO_COLOR`), tables with lines and bars of progress. In a pipe all is plain text: `status` is a line
per stage with tabs between its cells, `training.table` Markdown. Progress goes to stderr. With
`--json` stdout holds one JSON object and nothing else; after an error it holds nothing, and stderr
says what happened.

| exit code | means |
|---|---|
| 0 | done |
| 1 | `training.sweep`, `hw_build.flow build`: a point or a run failed, and the others are whole |
| 2 | a mistake in what was given: an option, a network, a file |
| 3 | the machine lacks something: a tool, disk space |
| 4 | a gate failed: two executors disagree |
| 130, 143, 129 | interrupted, by Ctrl-C, TERM or a closed terminal |

## Completion

A line in the shell's own start-up file completes modules after `python -m`, commands, options and
their choices:

| shell | line |
|---|---|
| bash: `~/.bashrc` | `source /path/to/completions/narrowgauge.bash` |
| zsh: `~/.zshrc`, after `compinit` | `source /path/to/completions/narrowgauge.zsh` |
| fish: `~/.config/fish/config.fish` | `source /path/to/completions/narrowgauge.fish` |

This page and those files are written by `make command-line`.
"""

BASH = """\
# Completes `python -m` with Narrowgauge's commands. Written by `make command-line`.
_narrowgauge_words() {
    case $1 in
%s    *) return 1 ;;
    esac
}

_narrowgauge() {
    COMPREPLY=()
    [[ ${COMP_WORDS[1]} == -m && $COMP_CWORD -ge 2 ]] || return 0
    local key=${COMP_WORDS[2]} before=${COMP_WORDS[COMP_CWORD - 1]} words
    if ((COMP_CWORD == 2)); then
        words=$(_narrowgauge_words "")
    else
        [[ $COMP_CWORD -gt 3 ]] && _narrowgauge_words "$key ${COMP_WORDS[3]}" >/dev/null &&
            key+=" ${COMP_WORDS[3]}"
        words=$(_narrowgauge_words "$key $before") || words=$(_narrowgauge_words "$key")
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F _narrowgauge python python3
"""

ZSH = """\
# Completes `python -m` with Narrowgauge's commands. Written by `make command-line`.
_narrowgauge_words() {
    case $1 in
%s    *) return 1 ;;
    esac
}

_narrowgauge() {
    if [[ $words[2] != -m || $CURRENT -lt 3 ]]; then
        _files
        return
    fi
    local key=$words[3] before=$words[CURRENT-1] found
    if (( CURRENT == 3 )); then
        found=$(_narrowgauge_words "")
    else
        (( CURRENT > 4 )) && _narrowgauge_words "$key $words[4]" >/dev/null && key+=" $words[4]"
        found=$(_narrowgauge_words "$key $before") || found=$(_narrowgauge_words "$key")
    fi
    compadd -- ${=found}
    _files
}
compdef _narrowgauge python python3
"""

FISH = """\
# Completes `python -m` with Narrowgauge's commands. Written by `make command-line`.
function __narrowgauge_words
    switch "$argv[1]"
%s        case '*'
            return 1
    end
end

function __narrowgauge
    set -l tokens (commandline -opc)
    test (count $tokens) -ge 2; and test "$tokens[2]" = -m; or return
    if test (count $tokens) -eq 2
        __narrowgauge_words ""
        return
    end
    set -l key $tokens[3]
    if test (count $tokens) -ge 4; and __narrowgauge_words "$key $tokens[4]" >/dev/null
        set key "$key $tokens[4]"
    end
    __narrowgauge_words "$key $tokens[-1]"; or __narrowgauge_words $key
end
complete -c python -a '(__narrowgauge)'
complete -c python3 -a '(__narrowgauge)'
"""


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """`module` or `module command`, with its parser."""
    for module, owner in COMMANDS.items():
        parser = importlib.import_module(owner).command_parser()
        yield module, parser
        for name, command in commands_of(parser).items():
            yield f"{module} {name}", command


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """A parser's commands by name; none if it has none."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def page() -> str:
    """The commands' own help, after what they have in common."""
    parts = [PAGE]
    for name, parser in parsers():
        text = parser.format_help().rstrip()
        parts.append(f"## python -m {name}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def words() -> dict[str, list[str]]:
    """What may follow, by what stands there: modules, commands and options, choices."""
    found = {"": list(COMMANDS)}
    for name, parser in parsers():
        found[name] = list(commands_of(parser))
        for action in parser._actions:
            options = [option for option in action.option_strings if option.startswith("--")]
            found[name] += options
            for option in options if action.choices else ():
                found[f"{name} {option}"] = [str(choice) for choice in action.choices]
    return found


def completion(shell: str) -> str:
    """The script of one shell."""
    lines = []
    for key, follow in words().items():
        if shell == "fish":
            lines.append(
                f"        case '{key}'\n            string split -- ' ' '{' '.join(follow)}'\n"
            )
        else:
            lines.append(f"    '{key}') echo '{' '.join(follow)}' ;;\n")
    return {"bash": BASH, "zsh": ZSH, "fish": FISH}[shell] % "".join(lines)


def files() -> dict[Path, str]:
    """Every file, with what it should hold."""
    made = {ROOT / "docs" / "command_line.md": page()}
    return made | {
        ROOT / "completions" / f"narrowgauge.{shell}": completion(shell) for shell in SHELLS
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args()
    os.environ["COLUMNS"] = "100"  # argparse fills the lines of a help to this
    stale = 0
    for path, text in files().items():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        print(
            f"{path.relative_to(ROOT)}: {'stale: make command-line' if options.check else 'made'}"
        )
        if not options.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return int(options.check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())

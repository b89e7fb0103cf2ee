"""``buffr completion``: what completes commands, flags and values in bash, zsh and fish.

All is taken from the parsers of the commands, so that the shells know what
``--help`` lists, and nothing else.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import NamedTuple

from buffr.commands.flags import MODES
from buffr.commands.parser import OneOf, Parser, find, one_of
from buffr.commands.tree import ROOT, Command

__all__ = ["SHELLS", "declare", "run"]

_FEW = {"MODE": MODES, "BOOL": ("true", "false")}
"""Values that the settings check, by their name in the help."""
_FILES = ("FILE", "DIR", "PATH", "OURS", "STORE")


class _Value(NamedTuple):
    """The value of a flag or the argument of a command: one of ``words``, or a file, or free."""

    words: tuple[str, ...] = ()
    is_file: bool = False


class _Flag(NamedTuple):
    """A flag with all its names. ``value`` is ``None`` if the next word is never its value."""

    names: tuple[str, ...]
    help: str
    value: _Value | None


class _Spot(NamedTuple):
    """What may follow the words of a command: others, with their help, or flags and arguments."""

    words: tuple[str, ...]
    commands: tuple[tuple[str, str], ...] = ()
    flags: tuple[_Flag, ...] = ()
    argument: _Value = _Value()
    runs_another: bool = False


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Prints the completion of buffr's commands, flags and values for a shell, which reads it "
        "when it starts.",
        "SHELL",
        examples=(
            ("buffr completion bash > ~/.local/share/bash-completion/completions/buffr", "bash"),
            ("buffr completion zsh > ~/.zfunc/_buffr", "zsh; ~/.zfunc must be in $fpath"),
            ("buffr completion fish > ~/.config/fish/completions/buffr.fish", "fish"),
        ),
    )
    parser.argument("shell", metavar="SHELL", type=one_of(*SHELLS), help=", ".join(SHELLS))


def run(given: argparse.Namespace) -> int:
    """Print the completion of a shell."""
    sys.stdout.write(SHELLS[given.shell](tuple(_spots())))
    return 0


def _spots(command: Command = ROOT, words: tuple[str, ...] = ()) -> Iterator[_Spot]:
    """All that can be completed: a group comes before its commands."""
    if not command.module:
        yield _Spot(words, tuple((one.name, one.help) for one in command.commands))
        for one in command.commands:
            yield from _spots(one, (*words, one.name))
        return
    _, parser, _ = find(words)
    import_module(command.module).declare(parser)
    flags = tuple(
        _Flag(tuple(one.option_strings), str(one.help), None if one.nargs in (0, "?") else _of(one))
        for one in parser.flags
    )
    values = [_of(one) for one in parser.arguments]
    argument = _Value(
        tuple(word for value in values for word in value.words),
        any(value.is_file for value in values),
    )
    yield _Spot(words, (), flags, argument, parser.has_command)


def _of(action: argparse.Action) -> _Value:
    name = str(action.metavar or "")
    if isinstance(action.type, OneOf):
        return _Value(action.type.allowed)
    if action.choices is not None:
        return _Value(tuple(map(str, action.choices)))
    return _Value(_FEW.get(name, ()), name.startswith(_FILES))


_BASH = """\
# bash completion of buffr: made by `buffr completion bash`
_buffr() {
    local at word current previous path="" commands flags words="" files="" other="" left
    local -a line=()
    # bash breaks words at = and : too
    left=${COMP_LINE:0:COMP_POINT}
    read -r -a line <<< "$left"
    [[ $left == *[[:space:]] ]] && line+=("")
    current=${line[${#line[@]}-1]}
    previous=${line[${#line[@]}-2]}
    for ((at = 1; at < ${#line[@]} - 1; at++)); do
        _buffr_at "$path"
        word=${line[at]}
        [[ " $commands " == *" $word "* ]] || break
        path="${path:+$path }$word"
    done
    _buffr_at "$path"
    if [[ -n $other ]]; then
        for ((; at < ${#line[@]} - 1; at++)); do
            word=${line[at]}
            if [[ $word == -- || $word != -* ]]; then
                [[ $word == -- ]] && ((at++))
                if declare -F _command_offset > /dev/null; then _command_offset "$at"
                else compopt -o default; fi
                return
            fi
            [[ $word == *=* ]] || { _buffr_value "$path $word" && ((at++)); }
        done
    fi
    if [[ $current == --*=* ]]; then
        _buffr_value "$path ${current%%=*}"
        current=${current#*=}
    elif [[ $previous == -* ]] && _buffr_value "$path $previous"; then
        :
    elif [[ $current == -* ]]; then
        words=$flags files=""
    else
        _buffr_argument "$path"
        words="$commands $words"
        if [[ -n $other ]]; then
            mapfile -t COMPREPLY < <(compgen -c -- "$current" | sort -u)
            return
        fi
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    if [[ -n $files ]]; then
        compopt -o filenames
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current")
    fi
}
"""


def _bash(spots: tuple[_Spot, ...]) -> str:
    lines = ["_buffr_at() {", '    commands="" flags="" other=""', '    case "$1" in']
    for spot in spots:
        said = f"commands='{' '.join(name for name, _ in spot.commands)}' "
        said += f"flags='{' '.join(name for flag in spot.flags for name in flag.names)}'"
        lines.append(f"    '{' '.join(spot.words)}') {said}{' other=1' * spot.runs_another} ;;")
    lines += ["    esac", "}", "_buffr_argument() {", '    words="" files=""', '    case "$1" in']
    lines += [
        f"    '{' '.join(spot.words)}') {_bash_value(spot.argument)} ;;"
        for spot in spots
        if spot.argument != _Value()
    ]
    # Whether a flag takes the next word is its exit code.
    lines += ["    esac", "}", "_buffr_value() {", '    words="" files=""', '    case "$1" in']
    for spot in spots:
        for flag in spot.flags:
            if flag.value is not None:
                names = "|".join(f"'{' '.join((*spot.words, name))}'" for name in flag.names)
                lines.append(f"    {names}) {_bash_value(flag.value)} ;;")
    lines += ["    *) return 1 ;;", "    esac", "}", "complete -F _buffr buffr", ""]
    return _BASH + "\n".join(lines)


def _bash_value(value: _Value) -> str:
    return f"words='{' '.join(value.words)}' files={'1' if value.is_file else ''}"


def _zsh(spots: tuple[_Spot, ...]) -> str:
    functions = "\n".join(map(_zsh_function, spots))
    # Read by compinit, it is the body of _buffr; with `source`, it only defines functions.
    begin = 'if [[ $funcstack[1] == _buffr ]]; then _buffr "$@"; else compdef _buffr buffr; fi\n'
    return f"#compdef buffr\n# made by `buffr completion zsh`\n{functions}\n{begin}"


def _zsh_function(spot: _Spot) -> str:
    lines = [f"{_zsh_name(spot.words)}() {{"]
    if spot.commands:
        inner = f"{_zsh_name(spot.words)}_$words[1]"
        rows = " ".join(_quoted(f"{name}:{text}") for name, text in spot.commands)
        lines += [
            "    local state",
            "    local -a commands",
            f"    commands=({rows})",
            "    _arguments -C '(- *)'{-h,--help}'[print help]' '1: :->command' '*:: :->rest'",
            "    case $state in",
            "        command) _describe -t commands command commands ;;",
            f"        rest) (( $+functions[{inner}] )) && {inner} ;;",
            "    esac",
        ]
    else:
        # Of another command only files: its own completion would need a line of its own.
        rest = "_files" if spot.runs_another else _zsh_value(spot.argument)
        options = [_zsh_option(flag, name) for flag in spot.flags for name in flag.names]
        lines.append("    _arguments -s \\")
        lines.append(
            " \\\n".join(f"        {_quoted(one)}" for one in (*options, f"*:value:{rest}"))
        )
    return "\n".join((*lines, "}", ""))


def _zsh_name(words: tuple[str, ...]) -> str:
    return "_".join(("_buffr", *words))


def _zsh_option(flag: _Flag, name: str) -> str:
    text = flag.help
    for special in "\\[]:":
        text = text.replace(special, f"\\{special}")
    if flag.value is None:
        return f"*{name}[{text}]"
    follows = "=" if name.startswith("--") else "+"
    return f"*{name}{follows}[{text}]:value:{_zsh_value(flag.value)}"


def _zsh_value(value: _Value) -> str:
    if value.words:
        return f"({' '.join(value.words)})"
    return "_files" if value.is_file else " "


_FISH = """\
# fish completion of buffr: made by `buffr completion fish`
function __buffr_in
    set -l words (commandline -opc)
    set -e words[1]
    for word in $argv
        test "$words[1]" = $word; or return 1
        set -e words[1]
    end
end
function __buffr_at
    test (count (commandline -opc)) -eq (math (count $argv) + 1); and __buffr_in $argv
end
function __buffr_rest
    set -l words (commandline -opc) (commandline -ct)
    set -e words[1..2]
    while string match -q -- '-*' "$words[1]"
        set -e words[1]
    end
    complete -C "$words"
end
"""


def _fish(spots: tuple[_Spot, ...]) -> str:
    return _FISH + "".join(f"{line}\n" for spot in spots for line in _fish_lines(spot))


def _fish_lines(spot: _Spot) -> Iterator[str]:
    path = " ".join(spot.words)
    begin = f"complete -c buffr -n '__buffr_{'at' if spot.commands else 'in'} {path}'"
    for name, text in spot.commands:
        yield f"{begin} -f -a {name} -d {_quoted(text)}"
    if spot.commands:
        return
    if spot.runs_another:
        yield f"{begin} -f -a '(__buffr_rest)'"
    elif not spot.argument.is_file:
        words = f" -a '{' '.join(spot.argument.words)}'" if spot.argument.words else ""
        yield f"{begin} -f{words}"
    for flag in spot.flags:
        names = " ".join(
            f"-{'l' if one[:2] == '--' else 's'} {one.lstrip('-')}" for one in flag.names
        )
        yield f"{begin} {names}{_fish_value(flag.value)} -d {_quoted(flag.help)}"


def _fish_value(value: _Value | None) -> str:
    if value is None:
        return ""
    if value.words:
        return f" -x -a '{' '.join(value.words)}'"
    return " -r -F" if value.is_file else " -x"


def _quoted(text: str) -> str:
    """For zsh and fish: one word, in which a quote is written outside of the others."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}

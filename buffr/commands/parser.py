"""The parser of a command: argparse, and the nearest name for a mistyped one."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

from buffr import __version__
from buffr.commands.tree import ROOT, Command

__all__ = ["Misused", "OneOf", "Parser", "find", "nearest", "one_of"]

_WIDTH = 92
_MISSING = "the following arguments are required"
_NAMED = re.compile(r"argument (?:-\w/)?([^\s:/]+)(?:/[^\s:]+)?: ")


class Misused(Exception):
    """An invalid command line. ``code`` is the exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=_WIDTH)


class _Prints(argparse.Action):
    """Writes a text to standard output, and ends.

    argparse's own actions hide that it could not be written.
    """

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        self._text: Callable[[Parser], str] = options.pop("text")
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        assert isinstance(parser, Parser)
        sys.stdout.write(self._text(parser))
        raise SystemExit(0)


class Parser(argparse.ArgumentParser):
    """The parser of one command. ``words`` is its path: ``("cassette", "ls")``.

    Flags may appear anywhere among the arguments, and may be abbreviated if
    unambiguous. Errors are raised as ``Misused``.
    """

    def __init__(self, command: Command, words: Sequence[str]) -> None:
        super().__init__(
            " ".join((ROOT.name, *words)),
            formatter_class=_Formatter,
            add_help=False,
            allow_abbrev=False,
        )
        self.words = tuple(words)
        self.command = command
        self.examples: tuple[tuple[str, str], ...] = ()
        self.flags: list[argparse.Action] = []
        """Those that the help lists."""
        self.arguments: list[argparse.Action] = []
        self._known: dict[str, argparse.Action] = {}
        self.has_command = False
        self._check: Callable[[argparse.Namespace], object] | None = None

    def describe(
        self,
        text: str,
        arguments: str = "",
        *,
        examples: Iterable[tuple[str, str]] = (),
        check: Callable[[argparse.Namespace], object] | None = None,
    ) -> None:
        """Set the description, the arguments in the usage line, and examples with explanations.

        ``check`` is called with the parsed arguments, and calls ``error`` for
        contradictory ones.
        """
        self._check = check
        self.description = _filled(text)
        self.examples = tuple(examples)
        self.usage = f"{self.prog} [options] {arguments}".rstrip()
        calls = (f"  {call}\n      {does}\n" for call, does in self.examples)
        self.epilog = "Examples:\n" + "".join(calls) if self.examples else None
        self.flag("-h", "--help", action=_Prints, text=Parser.format_help, help="print this help")
        self.flag(
            "--version",
            action=_Prints,
            text=lambda _: f"{ROOT.name} {__version__}\n",
            help=argparse.SUPPRESS,
        )

    def flag(self, *names: str, **options: Any) -> None:
        """Add a flag."""
        action = self.add_argument(*names, **options)
        self._known.update(dict.fromkeys(action.option_strings, action))
        if action.help is not argparse.SUPPRESS:
            self.flags.append(action)

    def argument(self, name: str, **options: Any) -> None:
        """Add a positional argument."""
        self.arguments.append(self.add_argument(name, **options))

    def takes_command(self) -> None:
        """Treat everything from the first word that is not a flag as another command."""
        self.has_command = True

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The arguments; ``parser`` is this one. Raises ``Misused``, or ``SystemExit`` for help."""
        flags, others = self._arranged(arguments)
        given = argparse.Namespace(parser=self)
        if self.has_command:
            given.command = tuple(others)
            others = []
        _, rest = self.parse_known_args(flags + (["--", *others] if others else []), given)
        for word in rest:
            if word != "--":
                self.error(f"unexpected argument {word!r}")
        if self._check is not None:
            self._check(given)
        return given

    def format_help(self) -> str:
        """As argparse has it, with headings in capitals."""
        text = super().format_help().replace("usage: ", "Usage: ", 1)
        text = text.replace("\npositional arguments:\n", "\nArguments:\n", 1)
        return text.replace("\noptions:\n", "\nOptions:\n", 1)

    def error(self, message: str) -> NoReturn:
        """Raise ``Misused``, with the command before the message."""
        message = _NAMED.sub(r"\1: ", message, count=1)
        if message.startswith(_MISSING):
            message = f"missing{message.removeprefix(_MISSING)}; usage: {self.usage}"
        raise Misused(
            ": ".join(filter(None, (" ".join(self.words), message))), self.command.misused
        )

    def _arranged(self, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
        """Flags, each in one word with its value and by its whole name; and all other words."""
        flags: list[str] = []
        others: list[str] = []
        left = iter(arguments)
        for word in left:
            if word == "--":
                others += left
            elif word == "-" or not word.startswith("-"):
                others.append(word)
                if self.has_command:
                    others += left
            else:
                flags += self._in_one_word(word, left)
        return flags, others

    def _in_one_word(self, word: str, left: Iterator[str]) -> list[str]:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            action = self._named(name)
        else:
            name, value = word[:2], word[2:]
            action = self._named(name)
            equals = value
        whole = action.option_strings[-1]
        if action.nargs == 0:
            if equals and word.startswith("--"):
                self.error(f"{whole} takes no value")
            return [whole, *(self._in_one_word(f"-{value}", left) if value else ())]
        if not equals and action.nargs == "?":
            return [whole]
        if not equals:
            try:
                value = next(left)
            except StopIteration:
                self.error(f"{whole} needs a value")
        return [f"{whole}={value}"]

    def _named(self, name: str) -> argparse.Action:
        """The flag with this name, or the only one with this prefix."""
        found = self._known.get(name)
        if found is not None:
            return found
        shown = [one for action in self.flags for one in action.option_strings]
        for known in (shown, list(self._known)):
            begun = [one for one in known if one.startswith(name) and name.startswith("--")]
            if len(begun) == 1:
                return self._known[begun[0]]
            if begun:
                self.error(f"{name} may be {' or '.join(sorted(begun))}")
        if self.command.commands:
            self.error(f"there is no flag {name!r} here: a command comes first")
        more = nearest(name, shown) or f"; `{self.prog} --help` lists them"
        return self.error(f"there is no flag {name!r}{more}")


def find(arguments: Sequence[str]) -> tuple[Command, Parser, list[str]]:
    """The command that these arguments name, its parser without flags yet, and what follows it.

    A group is found where no command of it is named. Raises ``Misused``.
    """
    command, rest = ROOT, list(arguments)
    words: list[str] = []
    while command.commands and rest and not rest[0].startswith("-"):
        word = rest.pop(0)
        known = {one.name: one for one in command.commands}
        if word not in known:
            called = " ".join((*words, word))
            listing = " ".join((ROOT.name, *words, "--help"))
            more = nearest(word, known) or f"; `{listing}` lists them"
            raise Misused(f"there is no command {called!r}{more}", command.misused)
        command = known[word]
        words.append(word)
    parser = Parser(command, words)
    if command.commands:
        _describe_group(parser, command)
    return command, parser, rest


def _describe_group(parser: Parser, group: Command) -> None:
    width = max(len(one.name) for one in group.commands)
    rows = "".join(f"  {one.name:<{width}}  {one.help}\n" for one in group.commands)
    text = f"`{parser.prog} COMMAND --help` lists the options of a command."
    parser.describe(f"{parser.prog}: {group.help}")
    parser.usage = f"{parser.prog} COMMAND [options]"
    parser.epilog = f"Commands:\n{rows}\n{text}\n" + (f"{group.text}\n" if group.text else "")


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'record'?`` for ``recrod``, or nothing."""
    from difflib import get_close_matches  # noqa: PLC0415  # for mistakes alone

    found = get_close_matches(word, list(known), 1)
    return f"; did you mean {found[0]!r}?" if found else ""


class OneOf(NamedTuple):
    """The type of a flag with few values."""

    allowed: tuple[str, ...]

    def __call__(self, text: str) -> str:
        if text in self.allowed:
            return text
        *first, last = self.allowed
        raise argparse.ArgumentTypeError(
            f"{text!r} must be {', '.join(first)} or {last}{nearest(text, self.allowed)}"
        )


def one_of(*allowed: str) -> OneOf:
    """The type of a flag with these values."""
    return OneOf(allowed)


def _filled(text: str) -> str:
    import textwrap  # noqa: PLC0415  # argparse does so too: for help alone

    return "\n\n".join(textwrap.fill(one, _WIDTH - 2) for one in text.split("\n\n"))

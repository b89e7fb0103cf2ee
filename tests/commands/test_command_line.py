"""The command line: one tree of commands, and what it says of a wrong call."""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest
from twisted.python import usage

from buffr.commands.cli import parsed, run
from buffr.commands.flags import FLAGS, MODES, flags_of, words_of
from buffr.commands.parser import Misused, Parser, find
from buffr.commands.reference import reference
from buffr.commands.tap import Options
from buffr.commands.tree import ROOT, Command
from buffr.config.environment import _flags
from buffr.config.forward import ForwardSettings
from buffr.config.model import Config
from buffr.config.reverse import ReverseRoute
from buffr.config.route import MatchSettings

PROJECT = Path(__file__).parents[2]


def leaves(command: Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of each command."""
    for one in command.commands:
        if one.module:
            yield (*words, one.name)
        yield from leaves(one, (*words, one.name))


COMMANDS = tuple(leaves(ROOT))


def parser_of(words: tuple[str, ...]) -> Parser:
    command, parser, _ = find(words)
    import_module(command.module).declare(parser)
    return parser


def refused(*arguments: str) -> str:
    with pytest.raises(Misused) as caught:
        parsed(arguments)
    return str(caught.value)


class TestTree:
    @pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
    def test_a_commands_help_lists_its_flags_with_examples(self, words: tuple[str, ...]) -> None:
        parser = parser_of(words)
        text = parser.format_help()
        assert text.startswith(f"Usage: buffr {' '.join(words)}")
        assert parser.examples
        assert all(call in text for call, _ in parser.examples)

    @pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
    def test_its_examples_can_be_called(self, words: tuple[str, ...], tmp_path: Path) -> None:
        """As far as its arguments go."""
        for call, _ in parser_of(words).examples:
            line = call.split("buffr ", 1)[1].split(" >")[0].rstrip(')"')
            module, given = parsed(line.replace("'", "").split())
            assert given.parser.words == words
            assert callable(module.run)

    def test_help_of_a_command_by_either_name(self, capsys: pytest.CaptureFixture[str]) -> None:
        texts = set()
        for arguments in (["help", "cassette", "ls"], ["cassette", "ls", "--help"]):
            with pytest.raises(SystemExit) as ended:
                run(arguments)
            assert ended.value.code == 0
            texts.add(capsys.readouterr().out)
        assert len(texts) == 1

    def test_help_lists_only_what_a_command_takes(self) -> None:
        """Others are known, so that the settings can say why they have no use."""
        text = parser_of(("auto",)).format_help()
        assert "--target" in text
        assert "--bypass" not in text
        assert "--ttl" not in text
        assert "--ttl" in parser_of(("cache",)).format_help()
        assert flags_of(parsed(["auto", "--bypass", "a.test"])[1])["bypass"] == "a.test"


class TestMistakes:
    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("recrod", "did you mean 'record'?"),
            ("cassette lss", "'cassette lss'; did you mean 'ls'?"),
            (
                "auto --tragte http://a.test",
                "auto: there is no flag '--tragte'; did you mean '--target'?",
            ),
            ("cassette ls --jsno", "did you mean '--json'?"),
            ("cassette ls --zzz", "`buffr cassette ls --help` lists them"),
            ("cassette ls", "cassette ls: missing: FILE; usage: buffr cassette ls [options] FILE"),
            ("cassette ls a b", "unexpected argument 'b'"),
            ("auto --target", "--target needs a value"),
            ("run --replay=yes x", "--replay takes no value"),
            ("run --fail-on x", "--fail-on may be --fail-on-escape or --fail-on-miss or"),
            (
                "ca --format dre",
                "'dre' must be pem, der, p12 or bundle; did you mean 'der'?",
            ),
            ("--target http://a.test", "a command comes first"),
        ],
    )
    def test_are_answered_with_the_nearest(self, line: str, words: str) -> None:
        assert words in refused(*line.split())

    @pytest.mark.parametrize(
        ("line", "code"),
        [("recrod", 1), ("auto --x 1", 1), ("run --x y", 2), ("cassette scan", 2), ("config", 2)],
    )
    def test_their_exit_codes(
        self, line: str, code: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with suppress(SystemExit):  # help, for a group alone
            assert run(line.split()) == code
        assert "Traceback" not in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("auto --mode replay", "--mode replay contradicts the command; use `buffr replay`"),
            ("auto --replay", "--replay contradicts the command"),
            ("proxy --auto --replay", "--auto and --replay contradict each other"),
            ("proxy --record --mode auto", "--record and --mode auto contradict"),
            ("serve --host a", "did you mean '--listen'?"),
            ("cassette scan --update-baseline a", "--update-baseline needs --baseline"),
            ("cassette scan --json --sarif a", "alternatives"),
        ],
    )
    def test_contradictions_are_said(self, line: str, words: str) -> None:
        assert words in refused(*line.split())

    def test_a_flag_that_says_the_same_is_fine(self) -> None:
        assert parsed(["replay", "--mode", "replay"])[1].mode == "replay"


class TestArguments:
    def test_flags_stand_anywhere_and_may_be_short(self) -> None:
        _, given = parsed(["cassette", "rm", "--dry", "a.json", "1", "-m", "*.png", "3-5"])
        assert (given.file, given.numbers, given.match) == ("a.json", ["1", "3-5"], "*.png")
        assert given.dry_run

    def test_a_value_may_look_like_a_flag(self) -> None:
        _, given = parsed(["ca", "--password", "-x", "-fp12"])
        assert (given.password, given.format) == ("-x", "p12")

    def test_what_is_behind_two_dashes_is_no_flag(self) -> None:
        assert parsed(["cassette", "ls", "--", "--json"])[1].file == "--json"


class TestDocs:
    def test_the_page_has_each_command_and_flag(self) -> None:
        """As ``make docs-reference`` writes it."""
        page = (PROJECT / "docs/commands.md").read_text("utf-8")
        assert reference(page) == page

    def test_its_overview_names_each_command(self) -> None:
        page = (PROJECT / "docs/commands.md").read_text("utf-8")
        named = set(re.findall(r"[a-z]+", page.partition("## ")[0]))
        assert [words for words in COMMANDS if words[-1] not in named] == []


class TestFlags:
    def test_the_table_has_those_of_the_settings(self) -> None:
        """It is apart from them, so that help needs no settings."""
        models = (Config, ReverseRoute, ForwardSettings, MatchSettings)
        known = {name for model in models for name in _flags(model)}
        ours = {flag.name.replace("-", "_") for flag in FLAGS} - {"config", "proxy"}
        assert ours == known

    def test_twistd_has_them_all(self) -> None:
        """With the same names and texts."""
        options = Options()
        theirs = {name: text for name, _, _, text in options.optParameters}
        theirs |= {name: text for name, _, text in options.optFlags}
        theirs |= {
            flag.name: str(getattr(options, f"opt_{flag.name.replace('-', '_')}").__doc__)
            for flag in FLAGS
            if flag.many
        }
        assert theirs == {flag.name: flag.help for flag in FLAGS}
        with pytest.raises(usage.UsageError):
            Options().parseOptions(["--prot", "1"])

    def test_one_that_takes_many_values_may_be_repeated(self) -> None:
        """By argparse, and on its way to twistd's options."""
        words = ["--match-json=$['a, b']", "--match-json", "$.c", "--match-ignore-query", "x"]
        given = parsed(["replay", "--cassette", "c.json", *words])[1]
        flags = flags_of(given)
        assert flags["match_json"] == "$['a, b']\n$.c"
        options = Options()
        options.parseOptions(words_of(None, {**flags, "mode": "replay"}))
        (route,) = options.settings.reverse
        assert (route.match.json, route.match.query) == (("$['a, b']", "$.c"), ("x",))

    @pytest.mark.parametrize("mode", MODES)
    def test_each_mode_is_a_command(self, mode: str) -> None:
        assert isinstance(parser_of((mode,)), argparse.ArgumentParser)


class TestStart:
    @pytest.mark.parametrize(
        "line", ["version", "--version", "--help", "auto --help", "run --help"]
    )
    def test_little_is_imported_for_a_word(self, line: str) -> None:
        """Processor time before the first character: see ``benchmarks/start.py``."""
        program = (
            "import atexit, json, sys\n"
            "from buffr.__main__ import main\n"
            "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
            f"sys.argv[1:] = {line.split()!r}\n"
            "main()\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert done.stdout
        loaded = {name.partition(".")[0] for name in json.loads(done.stderr)}
        assert loaded & {"twisted", "yaml", "OpenSSL", "cryptography", "attr", "msgspec"} == set()

    @pytest.mark.parametrize(
        "line", ["demo", "auto --target http://127.0.0.1:9 --port 0", "run true"]
    )
    @pytest.mark.parametrize(
        "module", ["argparse", "buffr.commands.terminal", "attr", "buffr.errors"]
    )
    def test_ctrl_c_while_modules_are_imported(
        self, line: str, module: str, tmp_path: Path
    ) -> None:
        """No traceback, and the exit code that shells have for it."""
        command = [sys.executable, "-X", "importtime", "-m", "buffr", *line.split()]
        with subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            for imported in process.stderr:
                if imported.rpartition("|")[2].strip() == module:
                    break
            process.send_signal(signal.SIGINT)
            said = process.stderr.read()
            process.wait(60)
        assert "Traceback" not in said
        assert "KeyboardInterrupt" not in said
        assert process.returncode == 130

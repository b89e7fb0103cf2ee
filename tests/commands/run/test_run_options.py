"""The options of ``buffr run``, and the settings that they make."""

from __future__ import annotations

import re
from argparse import Namespace
from pathlib import Path

import pytest

from buffr.commands.cli import parsed as command_line
from buffr.commands.parser import Misused
from buffr.commands.run.session import flags, scope_of, settings
from buffr.config import Config, ForwardSettings
from buffr.errors import ConfigError
from buffr.policy.mode import Mode


def parsed(*arguments: str) -> Namespace:
    return command_line(["run", *arguments])[1]


def made(*options: str, **environ: str) -> tuple[Config, ForwardSettings]:
    config = settings(parsed(*options, "--", "command"), environ)
    assert config.forward is not None
    return config, config.forward


class TestCommand:
    @pytest.mark.parametrize(
        "arguments",
        [
            ("--replay", "--", "test", "--auto", "--", "-x"),
            ("--replay", "test", "--auto", "--", "-x"),
        ],
    )
    def test_it_has_its_own_options(self, arguments: tuple[str, ...]) -> None:
        """What is behind the command's name is the command's, whatever it looks like."""
        options = parsed(*arguments)
        assert options.command == ("test", "--auto", "--", "-x")
        assert flags(options)["mode"] == "replay"

    @pytest.mark.parametrize("arguments", [(), ("--",), ("--replay",)])
    def test_none(self, arguments: tuple[str, ...]) -> None:
        assert parsed(*arguments).command == ()


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--auto", "--replay"), "--auto and --replay"),
            (("--record", "--mode", "auto"), "--record and --mode auto"),
            (("--report", "report.txt"), "must end in .json or .xml"),
            (("--report", "no/where/report.xml"), "no directory"),
            (("--scope", "a b"), "letters, digits"),
            (("--scope", "a" * 65), "1 to 64"),
            (("--grace", "-1"), "--grace: '-1'"),
            (("--grace", "nan"), "--grace: 'nan'"),
            (("--grace", "soon"), "--grace: 'soon'"),
            (("--target", "http://a.test"), "target"),
            (("--prot", "1"), "prot"),
        ],
    )
    def test_what_cannot_be(self, arguments: tuple[str, ...], words: str) -> None:
        with pytest.raises(Misused, match=re.escape(words)):
            parsed(*arguments, "--", "command")

    def test_a_cassette_to_replay_that_is_not_there(self, tmp_path: Path) -> None:
        path = str(tmp_path / "none.json")
        with pytest.raises(ConfigError, match=re.escape(path)):
            made("--replay", "--cassette", path)
        made("--auto", "--cassette", path)

    def test_cassettes_of_scopes_without_a_name_for_the_scope(self) -> None:
        """A new name in each run would replay nothing, ever."""
        with pytest.raises(ConfigError, match="--scope"):
            made(BUFFR_PROXY="{scope_cassettes: true}")
        made("--scope", "test-1", BUFFR_PROXY="{scope_cassettes: true}")


class TestSettings:
    def test_a_free_port_of_this_machine_alone(self) -> None:
        """Whatever the environment says for a proxy that others use too."""
        config, forward = made(BUFFR_PORT="8080", BUFFR_LISTEN="0.0.0.0")
        assert (config.listen, forward.port) == ("127.0.0.1", 0)
        assert made("--port", "9000")[1].port == 9000

    def test_they_hold_as_for_a_proxy(self, tmp_path: Path) -> None:
        """Flags over variables over the file."""
        file = tmp_path / "buffr.yaml"
        file.write_text("forward: {mode: record, bypass: [a.test], repeat: once}\ndata_dir: data\n")
        config, forward = made("--config", str(file))
        assert (forward.mode, forward.bypass, forward.repeat) == (
            Mode.RECORD,
            ("a.test",),
            "once",
        )
        assert config.data_dir == Path("data")
        assert made(BUFFR_CONFIG=str(file))[1].mode is Mode.RECORD
        assert made(BUFFR_CONFIG=str(file), BUFFR_MODE="auto")[1].mode is Mode.AUTO
        _, forward = made("--replay", "--bypass", "b.test", BUFFR_MODE="auto")
        assert (forward.mode, forward.bypass) == (Mode.REPLAY, ("b.test",))

    def test_the_users_proxy_is_the_parent(self) -> None:
        config, _ = made(HTTPS_PROXY="http://proxy.test:3128")
        assert config.parents.https is not None
        assert config.parents.https.url == "http://proxy.test:3128"

    def test_one_cassette_for_all_hosts_that_are_not_listed(self) -> None:
        rows = "{hosts: [{host: a.test}, {host: '*', mode: passthrough}]}"
        _, forward = made("--cassette", "one.json", BUFFR_PROXY=rows)
        assert forward.of("a.test").cassette == Path("a.test.json")
        assert forward.of("b.test").cassette == Path("one.json")
        assert forward.of("b.test").mode is Mode.PASSTHROUGH
        _, forward = made("--record", "--cassette", "one.json", "--ca-file", "their.pem")
        row = forward.of("b.test")
        assert (row.cassette, row.mode) == (Path("one.json"), Mode.RECORD)
        assert row.upstream.ca_file == Path("their.pem")

    def test_a_scope_of_its_own(self) -> None:
        assert scope_of(parsed("--scope", "mine", "x")) == "mine"
        assert scope_of(parsed("x")) != scope_of(parsed("x"))
        assert re.fullmatch("run-[0-9a-f]{8}", scope_of(parsed("x")))

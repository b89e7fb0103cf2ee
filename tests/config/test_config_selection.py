"""Which listeners there are, when several places name some."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_sources import loaded, refused

from buffr.config import Config
from buffr.policy.mode import Mode

FILE = "reverse: [{target: http://file, port: 1}]\nforward: {port: 2, bypass: file}\n"
PROXY = {"BUFFR_PROXY": "{port: 3, bypass: env}"}
TARGET = {"BUFFR_TARGET": "http://single"}
TARGETS = {"BUFFR_TARGETS": "[target: http://list]"}
NUMBERED = {"BUFFR_0_TARGET": "http://numbered"}


def listeners(config: Config) -> list[str]:
    """What listens: hosts of reverse targets, and the forward proxy's bypass."""
    names = [route.target.host if route.target else "replay" for route in config.reverse]
    if config.forward is not None:
        names.append(f"proxy {' '.join(config.forward.bypass)}".strip())
    return names


class TestOrder:
    @pytest.mark.parametrize(
        ("environ", "flags", "expected"),
        [
            ({}, {}, ["file", "proxy file"]),
            (NUMBERED, {}, ["numbered"]),
            (NUMBERED | TARGETS, {}, ["list"]),
            (NUMBERED | TARGETS | TARGET, {}, ["single"]),
            (NUMBERED | TARGETS | TARGET | PROXY, {}, ["proxy env"]),
            (TARGET | PROXY | {"BUFFR_MODE": "auto"}, {}, ["single"]),
            (PROXY | {"BUFFR_MODE": "auto"}, {}, ["proxy env"]),
            (PROXY | {"BUFFR_MODE": "replay", "BUFFR_CASSETTE": "c"}, {}, ["replay"]),
            (TARGETS | {"BUFFR_MODE": "auto"}, {}, ["list"]),
            ({"BUFFR_MODE": "proxy"}, {}, ["proxy file"]),
            (TARGET | TARGETS | {"BUFFR_MODE": "proxy"}, {}, ["proxy file"]),
            (PROXY | {"BUFFR_MODE": "proxy"}, {}, ["proxy env"]),
            (TARGET | {"BUFFR_MODE": "proxy"}, {"mode": "auto"}, ["single"]),
            (TARGET | PROXY, {"mode": "auto"}, ["single"]),
            (PROXY, {"mode": "auto"}, ["proxy env"]),
            (PROXY | {"BUFFR_MODE": "proxy"}, {"target": "http://flag"}, ["flag"]),
            ({}, {"proxy": "true"}, ["proxy file"]),
            ({}, {"proxy": "true", "mode": "replay"}, ["proxy file"]),
            ({}, {"mode": "proxy"}, ["proxy file"]),
            ({}, {"proxy": "false"}, ["file", "proxy file"]),
            (TARGET | {"BUFFR_MODE": "auto"}, {"proxy": "true"}, ["proxy file"]),
            (PROXY, {"proxy": "true"}, ["proxy env"]),
            (PROXY, {"proxy": "true", "bypass": "flag"}, ["proxy flag"]),
        ],
    )
    def test_the_first_that_is_there(
        self, environ: dict[str, str], flags: dict[str, str], expected: list[str]
    ) -> None:
        """One place gives all the listeners; only a file gives both kinds."""
        assert listeners(loaded(FILE, environ, flags)) == expected

    @pytest.mark.parametrize(
        ("environ", "flags"),
        [
            ({"BUFFR_MODE": "proxy"}, {}),
            ({"BUFFR_PROXY": "{}"}, {}),
            ({"BUFFR_PROXY": "# all defaults"}, {}),
            ({}, {"proxy": "true"}),
        ],
    )
    def test_a_word_is_enough(self, environ: dict[str, str], flags: dict[str, str]) -> None:
        """A forward proxy needs no settings."""
        config = loaded(None, environ, flags)
        assert listeners(config) == ["proxy"]
        assert config.forward is not None
        assert (config.forward.port, config.forward.mode) == (8080, Mode.AUTO)

    def test_nothing_to_do(self) -> None:
        """The line about nothing to do names the forward proxy too."""
        (line,) = refused(None)
        assert "BUFFR_MODE=proxy" in line

    def test_variables_in_vain(self) -> None:
        """A variable that another one replaces is reported."""
        environ = PROXY | TARGET | TARGETS | NUMBERED | {"BUFFR_CASSETTE": "c.json"}
        why = "is not used, since BUFFR_PROXY selects the forward proxy"
        assert loaded(None, environ).warnings == (
            f"BUFFR_TARGET: {why}",
            f"BUFFR_CASSETTE: {why}",
            f"BUFFR_TARGETS: {why}",
            f"BUFFR_0_TARGET: {why}",
        )
        environ = PROXY | TARGET | {"BUFFR_MODE": "auto"}
        assert loaded(None, environ).warnings == (
            "BUFFR_PROXY: is not used, since other variables define a single route",
        )
        assert loaded(None, PROXY | TARGETS, {"proxy": "true"}).warnings == ()


class TestProxyVariable:
    def test_of_the_first_buffr(self) -> None:
        """What the first buffr took is taken."""
        text = """
mode: record
bypass: [localhost, 127.0.0.1, qdrant, s3]
hosts:
  - host: huggingface.co
    cassette: /data/hf.json
    match:
      ignore:
        - in: request.body
          pattern: '/runs/\\d{8}/'
          replace_with: '/runs/<RUN_ID>/'
          sync_response: true
  - host: '*'
"""
        settings = loaded(None, {"BUFFR_PROXY": text, "BUFFR_DATA_DIR": "d"}).forward
        assert settings is not None
        assert settings.mode is Mode.RECORD
        assert settings.bypass == ("localhost", "127.0.0.1", "qdrant", "s3")
        assert settings.of("huggingface.co").cassette == Path("/data/hf.json")
        assert settings.of("huggingface.co").match.ignore[0].sync_response
        assert settings.of("other").cassette == Path("d/misc.json")

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("mode: [x", "BUFFR_PROXY line 1 column 9: forward: not YAML: expected ',' or ']'"),
            ("auto", "BUFFR_PROXY line 1: forward: must be a mapping with cassette, bypass"),
            ("mode: auto\nprot: 1", "BUFFR_PROXY line 2: forward.prot: unknown key; did you mean"),
            ("hosts: [{cassette: c}]", "BUFFR_PROXY line 1: forward.hosts[0].host: is missing;"),
            ("mode: proxy", "BUFFR_PROXY line 1: forward.mode: 'proxy' must be auto, record"),
        ],
    )
    def test_faults(self, text: str, line: str) -> None:
        """A fault in it is reported by its name, and nothing starts."""
        lines = refused(None, {"BUFFR_PROXY": text})
        assert len(lines) == 1
        assert lines[0].startswith(line)

    def test_it_is_checked_when_replaced(self) -> None:
        """A fault in it is a fault even where it is not used."""
        (line,) = refused(None, {"BUFFR_PROXY": "[]"} | TARGET, {"mode": "auto"})
        assert line.startswith("BUFFR_PROXY line 1: ")


class TestOver:
    @pytest.mark.parametrize(
        ("text", "environ", "flags", "port", "mode"),
        [
            (None, {}, {"proxy": "true", "port": "9", "mode": "record"}, 9, Mode.RECORD),
            (None, {"BUFFR_MODE": "proxy", "BUFFR_PORT": "9"}, {}, 9, Mode.AUTO),
            (None, PROXY | {"BUFFR_PORT": "9", "BUFFR_MODE": "replay"}, {}, 3, Mode.REPLAY),
            (None, PROXY, {"port": "9", "mode": "replay"}, 9, Mode.REPLAY),
            ("forward: {port: 2}", {"BUFFR_PORT": "9", "BUFFR_MODE": "replay"}, {}, 9, Mode.REPLAY),
            ("forward: {port: 2}", {}, {"port": "9"}, 9, Mode.AUTO),
            ("forward: {mode: record}", {"BUFFR_MODE": "proxy"}, {}, 8080, Mode.RECORD),
        ],
    )
    def test_port_and_mode(
        self,
        text: str | None,
        environ: dict[str, str],
        flags: dict[str, str],
        port: int,
        mode: Mode,
    ) -> None:
        """Flags count over variables, those over the file, and BUFFR_PROXY over BUFFR_PORT."""
        settings = loaded(text, environ, flags).forward
        assert settings is not None
        assert (settings.port, settings.mode) == (port, mode)

    def test_a_whole_file(self) -> None:
        """A mode is for both kinds; a port for neither, where there are both."""
        config = loaded(FILE, {"BUFFR_MODE": "replay", "BUFFR_PORT": "9"})
        assert config.forward is not None
        assert [config.forward.mode, config.reverse[0].mode] == [Mode.REPLAY, Mode.REPLAY]
        assert [config.forward.port, config.reverse[0].port] == [2, 1]
        assert config.warnings == ("BUFFR_PORT: port: applies to a single route, but there are 2",)
        assert refused(FILE, flags={"port": "9"}) == [
            "--port: port: applies to a single route, but there are 2"
        ]

    @pytest.mark.parametrize(
        ("text", "flags", "line"),
        [
            (
                None,
                {"proxy": "true", "target": "http://a"},
                "--target: target: applies to a reverse",
            ),
            (
                None,
                {"proxy": "true", "cassette": "c"},
                "--cassette: cassette: applies to a reverse",
            ),
            (None, {"proxy": "true", "port": "x"}, "--port: forward.port: 'x' must be a whole"),
            (None, {"proxy": "maybe"}, "--proxy: 'maybe' must be true or false"),
            ("forward: {}", {"cassette": "c"}, "--cassette: cassette: applies to a reverse port"),
            (
                "reverse: [{target: http://a}]",
                {"bypass": "a"},
                "--bypass: bypass: applies to the forward proxy",
            ),
            (
                None,
                {"target": "http://a", "bypass": "a"},
                "--bypass: bypass: applies to the forward",
            ),
        ],
    )
    def test_flags_of_the_other_kind(
        self, text: str | None, flags: dict[str, str], line: str
    ) -> None:
        """A flag that says nothing to what listens is a mistake."""
        (said,) = [one for one in refused(text, flags=flags) if "no route" not in one]
        assert said.startswith(line)

    def test_variables_of_the_other_kind(self) -> None:
        """A variable may be there for others, and is reported."""
        config = loaded("forward: {}", {"BUFFR_CASSETTE": "c.json"})
        assert config.warnings == ("BUFFR_CASSETTE: cassette: applies to a reverse port",)


FLAGGED = {"match_json": "$.a['x, y']\n$.b", "match_ignore_header": "X-Id"}


class TestRulesByFlags:
    def test_they_are_added_to_those_of_each_route(self) -> None:
        """A host without rules of its own has the proxy's, and those of the flags once."""
        text = (
            "reverse: [{target: http://a.test, match: {json: $.old, form: f}}, "
            "{target: http://b.test}]\n"
            "gateway: {port: 7000, routes: {g: {target: http://g.test}}}\n"
            "forward: {port: 7001, match: har, hosts: [{host: a.test, match: {json: $.old}},"
            " {host: b.test}]}\n"
        )
        config = loaded(text, flags=FLAGGED)
        assert config.gateway is not None
        assert config.forward is not None
        rows = [*config.reverse, *config.gateway.routes, *config.forward.hosts]
        added = ("$.a['x, y']", "$.b")
        old = [("$.old",), (), (), ("$.old",), ()]
        assert [row.match.json for row in rows] == [(*first, *added) for first in old]
        assert {row.match.ignore_header for row in rows} == {("x-id",)}
        assert config.reverse[0].match.form == ("f",)
        assert config.forward.of("other.test").match == config.forward.hosts[1].match
        assert config.forward.hosts[1].match.preset == "har"

    def test_a_preset_and_its_parts_override(self) -> None:
        text = "reverse: [{target: http://a.test, match: {preset: har, on: [path], json: $.a}}]"
        (row,) = loaded(text, flags={"match": "vcr", "match_on": "method,body"}).reverse
        assert (row.match.preset, row.match.on) == ("vcr", ("method", "body"))
        assert row.match.json == ("$.a",)

    def test_without_a_file(self) -> None:
        (row,) = loaded(None, flags={"target": "http://a.test", **FLAGGED}).reverse
        assert row.match.ignore_header == ("x-id",)

    def test_what_is_wrong_is_said_with_the_flag(self) -> None:
        flags = {"target": "http://a.test", "match_json": "id", "match": "vrc"}
        lines = refused(None, flags=flags)
        assert [line.partition(":")[0] for line in lines] == ["--match", "--match-json"]

    def test_mode_passthrough_has_no_use_for_them(self) -> None:
        flags = {"target": "http://a.test", "mode": "passthrough", "match_json": "$.id"}
        (warning,) = loaded(None, flags=flags).warnings
        assert warning.startswith("--match-json: ")


class TestRulesOfASingleRoute:
    """``buffr replay --target URL --config FILE``."""

    ROWS = (
        "reverse:\n"
        "  - {target: http://a.test, port: 1, cassette: one.json, repeat: once}\n"
        "  - {target: http://b.test/v1, port: 2, keep_host: true}\n"
        "  - {target: http://b.test/v1, port: 3}\n"
    )

    @pytest.mark.parametrize("source", ["flag", "variable"])
    def test_are_those_of_the_row_with_its_target(self, source: str) -> None:
        """They were dropped, and nobody was told."""
        url = "http://a.test"
        if source == "flag":
            (route,) = loaded(self.ROWS, flags={"target": url, "mode": "replay"}).reverse
        else:
            (route,) = loaded(self.ROWS, {"BUFFR_TARGET": url, "BUFFR_MODE": "replay"}).reverse
        assert (route.mode, route.port, route.repeat) == (Mode.REPLAY, 1, "once")
        assert route.cassette == Path("one.json")

    def test_flags_override_them(self) -> None:
        flags = {"target": "http://a.test", "port": "9", "repeat": "last"}
        (route,) = loaded(self.ROWS, flags=flags).reverse
        assert (route.port, route.repeat) == (9, "last")

    def test_of_several_rows_the_port_chooses(self) -> None:
        flags = {"target": "http://b.test/v1", "mode": "auto"}
        (route,) = loaded(self.ROWS, flags=flags | {"port": "2"}).reverse
        assert route.keep_host
        assert refused(self.ROWS, flags=flags) == [
            "--target: reverse[1] and reverse[2] have this target; choose one by its --port"
        ]

    def test_a_cassette_names_its_row_where_there_is_no_target(self) -> None:
        flags = {"mode": "replay", "cassette": "one.json"}
        (route,) = loaded(self.ROWS, flags=flags).reverse
        assert route.repeat == "once"

    @pytest.mark.parametrize(
        ("text", "rows"),
        [
            (ROWS, "reverse[0] (http://a.test), reverse[1] (http://b.test/v1)"),
            ("gateway: {routes: {c: {target: http://c.test}}}", "it has gateway; add"),
            ("forward: {}", "it has forward; add a row under 'reverse:'"),
        ],
    )
    def test_a_target_that_no_row_has_is_refused(self, text: str, rows: str) -> None:
        (line,) = refused(text, flags={"target": "http://c.test", "mode": "auto"})
        assert line.startswith("--target: no row of the settings file has this target")
        assert rows in line

    def test_without_a_mode_it_replaces_them_and_that_is_told(self) -> None:
        """``buffr serve --target URL``."""
        config = loaded(self.ROWS, flags={"target": "http://c.test"})
        (warning,) = config.warnings
        assert warning.startswith("--target: no row of the settings file has this target")

    def test_a_file_without_listeners_has_no_rules_to_drop(self) -> None:
        (route,) = loaded("data_dir: data", flags={"target": "http://c.test"}).reverse
        assert route.target is not None

    def test_a_variable_replaces_the_rows_as_ever(self) -> None:
        """Containers have both, and a variable counts before the file."""
        (route,) = loaded(self.ROWS, {"BUFFR_TARGET": "http://c.test"}).reverse
        assert route.target is not None
        assert route.target.host == "c.test"

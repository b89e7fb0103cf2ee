"""Which reverse routes there are, and what each becomes."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_sources import ONE_ROUTE, loaded, refused

from buffr.config import (
    Config,
    IgnoreRule,
    MatchSettings,
    ReverseRoute,
    StatusSet,
    UpstreamOptions,
)
from buffr.config.route import NormaliseSettings
from buffr.origin import Origin
from buffr.policy.mode import Mode

A, B, C = "http://a.example", "http://b.example", "http://c.example"
TWO_ROUTES = f"reverse: [{{target: {A}}}, {{target: {B}}}]\n"


def hosts(config: Config) -> list[str | None]:
    return [route.target.host if route.target else None for route in config.reverse]


class TestSources:
    @pytest.mark.parametrize(
        ("environ", "flags", "expected"),
        [
            ({}, {}, ["file"]),
            ({"BUFFR_0_TARGET": "http://n0", "BUFFR_1_TARGET": "http://n1"}, {}, ["n0", "n1"]),
            ({"BUFFR_0_TARGET": "http://n0", "BUFFR_TARGETS": "[target: http://t0]"}, {}, ["t0"]),
            ({"BUFFR_TARGETS": "- target: http://t0\n- target: http://t1"}, {}, ["t0", "t1"]),
            ({"BUFFR_TARGETS": "[target: http://t0]", "BUFFR_TARGET": "http://e"}, {}, ["e"]),
            ({"BUFFR_TARGET": "http://e"}, {"target": "http://f"}, ["f"]),
            ({"BUFFR_TARGETS": "[target: http://t0]"}, {"target": "http://f"}, ["f"]),
            ({}, {"mode": "replay", "cassette": "c.json"}, [None]),
            ({"BUFFR_MODE": "replay", "BUFFR_CASSETTE": "c.json"}, {}, [None]),
            ({"BUFFR_MODE": "replay"}, {}, ["file"]),
        ],
    )
    def test_the_first_that_is_there(
        self, environ: dict[str, str], flags: dict[str, str], expected: list[str | None]
    ) -> None:
        """One source gives all the routes, and replaces those after it."""
        assert hosts(loaded("reverse: [{target: http://file}]\n", environ, flags)) == expected

    def test_single_route(self) -> None:
        """Flags and variables make one route together, a flag over its variable."""
        environ = {"BUFFR_PORT": "1", "BUFFR_CASSETTE": "e.json", "BUFFR_MODE": "record"}
        (route,) = loaded(None, environ, {"target": A, "port": "2"}).reverse
        assert route == ReverseRoute(
            target=Origin("http", "a.example", 80),
            port=2,
            cassette=Path("e.json"),
            mode=Mode.RECORD,
        )

    def test_numbered(self) -> None:
        """Each numbered route has its own variables; the port counts up from 8080."""
        environ = {
            "BUFFR_0_TARGET": A,
            "BUFFR_0_MODE": "record",
            "BUFFR_1_TARGET": B,
            "BUFFR_1_CASSETTE": "b.json",
            "BUFFR_2_MODE": "replay",
            "BUFFR_2_CASSETTE": "c.json",
            "BUFFR_2_PORT": "9000",
        }
        routes = loaded(None, environ).reverse
        assert [route.port for route in routes] == [8080, 8081, 9000]
        assert [route.mode for route in routes] == [Mode.RECORD, Mode.AUTO, Mode.REPLAY]
        names = [str(route.cassette) for route in routes]
        assert names == ["a.example.json", "b.json", "c.json"]

    def test_ten_numbered(self) -> None:
        """The numbers are counted, not sorted as text."""
        environ = {f"BUFFR_{n}_TARGET": f"http://n{n}" for n in range(11)}
        assert hosts(loaded(None, environ)) == [f"n{n}" for n in range(11)]

    @pytest.mark.parametrize(
        ("environ", "line"),
        [
            (
                {"BUFFR_0_TARGET": A, "BUFFR_2_TARGET": B},
                (
                    "BUFFR_2_TARGET: reverse[2]: BUFFR_1_TARGET is missing; "
                    "number the routes from 0 without a gap"
                ),
            ),
            (
                {"BUFFR_1_TARGET": A},
                (
                    "BUFFR_1_TARGET: reverse[1]: BUFFR_0_TARGET is missing; "
                    "number the routes from 0 without a gap"
                ),
            ),
            (
                {"BUFFR_0_PORT": "9000"},
                "BUFFR_0_TARGET: reverse[0].target: is missing; must be http://HOST",
            ),
            ({"BUFFR_0_TARGET": A, "BUFFR_0_PORT": "x"}, "BUFFR_0_PORT: reverse[0].port: 'x' must"),
            ({"BUFFR_TARGETS": "{}"}, "BUFFR_TARGETS line 1: reverse: must be a list of mappings"),
            ({"BUFFR_TARGETS": "# none"}, "BUFFR_TARGETS: reverse: is empty; must be a list"),
            (
                {"BUFFR_TARGETS": "- target: [x"},
                "BUFFR_TARGETS line 1 column 13: reverse: not YAML: expected ',' or ']'",
            ),
            (
                {"BUFFR_TARGETS": f"- target: {A}\n  prot: 1"},
                "BUFFR_TARGETS line 2: reverse[0].prot: unknown key; did you mean 'port'?",
            ),
        ],
    )
    def test_faulty_variables(self, environ: dict[str, str], line: str) -> None:
        """A fault in a variable is reported by the variable's name, and nothing starts."""
        lines = refused(None, environ)
        assert len(lines) == 1
        assert lines[0].startswith(line)

    def test_nothing_to_do(self) -> None:
        """Without any route, one line shows how to give one."""
        for text in (None, "", "reverse: []\n", "reverse:\n"):
            (line,) = refused(text)
            assert line.startswith("no route: ")
            for example in ("--target ", "BUFFR_TARGET=", "reverse: ["):
                assert example in line

    def test_variables_in_vain(self) -> None:
        """A variable that another one replaces is reported."""
        environ = {"BUFFR_TARGET": A, "BUFFR_TARGETS": f"[target: {B}]", "BUFFR_0_TARGET": C}
        assert loaded(None, environ).warnings == (
            "BUFFR_TARGETS: is not used, since other variables define a single route",
            "BUFFR_0_TARGET: is not used, since other variables define a single route",
        )
        del environ["BUFFR_TARGET"]
        assert loaded(None, environ).warnings == (
            "BUFFR_0_TARGET: is not used, since BUFFR_TARGETS is set",
        )

    def test_all_sources_are_checked(self) -> None:
        """A fault in a source that is replaced is a fault all the same."""
        lines = refused("reverse: [{target: x}]\n", {"BUFFR_TARGETS": "[port: x]"}, {"target": A})
        assert [line.partition(": ")[0] for line in lines] == ["s.yaml:1", "BUFFR_TARGETS line 1"]


class TestOverrides:
    def test_mode_for_every_route(self) -> None:
        """One variable makes a whole file replay."""
        config = loaded(TWO_ROUTES, {"BUFFR_MODE": "replay"})
        assert [route.mode for route in config.reverse] == [Mode.REPLAY, Mode.REPLAY]
        assert hosts(config) == ["a.example", "b.example"]

    def test_flags_for_every_route(self) -> None:
        """A flag sets what is not specific to one route for all of them."""
        flags = {"keep_host": "true", "repeat": "once", "ca_file": "ca.pem"}
        for route in loaded(TWO_ROUTES, flags=flags).reverse:
            assert (route.keep_host, route.repeat) == (True, "once")
            assert route.upstream.ca_file == Path("ca.pem")

    def test_port_of_the_only_route(self) -> None:
        """A port and a cassette are put over those of the only route."""
        (route,) = loaded(ONE_ROUTE, {"BUFFR_PORT": "9"}, {"cassette": "x.json"}).reverse
        assert (route.port, route.cassette) == (9, Path("x.json"))

    def test_a_route_of_variables_says_more(self) -> None:
        """BUFFR_PORT is for what BUFFR_0_PORT leaves open; a flag is over both."""
        environ = {"BUFFR_0_TARGET": A, "BUFFR_0_PORT": "1", "BUFFR_PORT": "2"}
        environ |= {"BUFFR_MODE": "record"}
        (route,) = loaded(None, environ).reverse
        assert (route.port, route.mode) == (1, Mode.RECORD)
        assert loaded(None, environ, {"port": "3"}).reverse[0].port == 3

    def test_port_of_several_routes(self) -> None:
        """One port for several routes is an error by flag, and a warning by variable."""
        assert refused(TWO_ROUTES, flags={"port": "9"}) == [
            "--port: port: applies to a single route, but there are 2"
        ]
        config = loaded(TWO_ROUTES, {"BUFFR_PORT": "9"})
        assert [route.port for route in config.reverse] == [8080, 8081]
        assert config.warnings == ("BUFFR_PORT: port: applies to a single route, but there are 2",)


class TestPorts:
    def test_defaults(self) -> None:
        """Ports count up from 8080 by position."""
        assert [route.port for route in loaded(TWO_ROUTES).reverse] == [8080, 8081]

    def test_shared(self) -> None:
        """Two listeners on one port are refused, the line naming both."""
        text = f"reverse:\n- {{target: {A}, port: 80}}\n- {{target: {B}, port: 80}}\n"
        assert refused(text) == [
            (
                "s.yaml:3: reverse[1].port: 80 is already the port of reverse[0]; "
                "must be another, or 0 for a free one"
            )
        ]

    def test_shared_by_default(self) -> None:
        """A default port that is taken is reported as a default."""
        text = f"reverse:\n- {{target: {A}, port: 8081}}\n- {{target: {B}}}\n"
        assert refused(text) == [
            (
                "s.yaml:3: reverse[1].port: 8081, the default here, is already the port "
                "of reverse[0]; must be another, or 0 for a free one"
            )
        ]

    def test_free_ones(self) -> None:
        """Any number of routes may take a free port."""
        text = f"reverse: [{{target: {A}, port: 0}}, {{target: {B}, port: 0}}]\n"
        assert [route.port for route in loaded(text).reverse] == [0, 0]


class TestTargets:
    def test_replay_without_target(self) -> None:
        """Replay asks nobody, so a cassette is enough."""
        (route,) = loaded("reverse: [{mode: replay, cassette: c.json}]\n").reverse
        assert (route.target, route.cassette) == (None, Path("c.json"))

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("[{port: 1}]", "reverse[0].target: is missing; must be http://HOST or https://HOST"),
            ("[{mode: record, cassette: c}]", "reverse[0].target: is missing; must be http://HOST"),
            ("[{mode: replay}]", "reverse[0].cassette: is missing; must be a path, since there"),
            ("[{}]", "reverse[0].target: is missing; must be http://HOST"),
            ("[http://a]", "reverse[0]: must be a mapping with target, port"),
            ("http://a", "reverse: must be a list of mappings, each after a '-'"),
            ("{target: http://a}", "reverse: must be a list of mappings, each after a '-'"),
        ],
    )
    def test_missing(self, text: str, line: str) -> None:
        """A route that leads nowhere is refused."""
        (said,) = refused(f"reverse: {text}\n")
        assert said.startswith(f"s.yaml:1: {line}")

    def test_passwords_are_not_shown(self) -> None:
        """A URL with credentials is refused without a word of them."""
        url = "https://me:s3cret@a.example/x?key=s3cret"
        for lines in (
            refused(f"reverse: [{{target: '{url}'}}]\n"),
            refused(f"reverse: {url}\n"),
            refused(f"'{url}': x\n"),
            refused(None, {"BUFFR_TARGET": url}),
            refused(None, {}, {"target": url}),
            refused(None, {"BUFFR_TARGETS": url}),
            refused(None, {"BUFFR_TARGETS": f"[target: {url}]"}),
            refused(ONE_ROUTE, {}, {"listen": url, "port": url, "mode": url}),
        ):
            assert lines
            assert "s3cret" not in "\n".join(lines)


class TestCassettes:
    def test_default(self) -> None:
        """A cassette is named after its host, and its port if it is not the usual one."""
        text = "data_dir: d\nreverse: [{target: 'http://[::1]:99'}, {target: http://A.example/v1}]"
        names = [str(route.cassette) for route in loaded(text).reverse]
        assert names == ["d/__1_99.json", "d/a.example.json"]
        (route,) = loaded(None, {"BUFFR_DATA_DIR": "/e", "BUFFR_TARGET": A}).reverse
        assert route.cassette == Path("/e/a.example.json")

    def test_given(self) -> None:
        """A cassette that is given is relative to the working directory, not to data_dir."""
        text = f"data_dir: d\nreverse: [{{target: {A}, cassette: x/c.json}}]"
        assert loaded(text).reverse[0].cassette == Path("x/c.json")

    def test_shared_by_two_targets(self) -> None:
        """Two upstreams with one cassette would answer for each other: a warning."""
        text = "reverse: [{target: http://a}, {target: https://a}, {target: http://a}]\n"
        assert loaded(text).warnings == (
            (
                "'a.json': holds recordings of http://a and of https://a, "
                "which answer for each other; give each its own cassette"
            ),
        )


class TestRouteSettings:
    def test_all(self) -> None:
        """Every setting of a route reaches the model."""
        text = """
reverse:
  - target: https://a.example/v1
    port: 9000
    mode: replay
    cassette: c.json
    keep_host: yes
    repeat: last
    share: false
    record_statuses: [2xx, 404, '!204']
    match:
      ignore:
        - {in: request.header.X-Id, pattern: '[0-9]+', replace_with: 0, sync_response: true}
      json: $.id
      query: [ts, nonce]
      form: [token]
      header: [Accept]
      credentials: distinct
      normalise: {json: false, signatures: no}
    ca_file: ca.pem
    verify: false
    replay_delays: true
"""
        config = loaded(text)
        assert config.reverse == (
            ReverseRoute(
                target=Origin("https", "a.example", 443, "/v1"),
                port=9000,
                mode=Mode.REPLAY,
                cassette=Path("c.json"),
                keep_host=True,
                repeat="last",
                share=False,
                record_statuses=StatusSet.of("2xx", "404", "!204"),
                match=MatchSettings(
                    ignore=(
                        IgnoreRule(
                            part="request.header.x-id",
                            pattern="[0-9]+",
                            replace_with="0",
                            sync_response=True,
                        ),
                    ),
                    json=("$.id",),
                    query=("ts", "nonce"),
                    form=("token",),
                    header=("accept",),
                    credentials="distinct",
                    normalise=NormaliseSettings(json=False, signatures=False),
                ),
                upstream=UpstreamOptions(ca_file=Path("ca.pem"), verify=False),
                replay_delays=True,
            ),
        )
        assert config.warnings == (
            "s.yaml:21: reverse[0].verify: the certificate of https://a.example/v1 is not verified",
        )

    @pytest.mark.parametrize("name", ["share", "record_statuses", "replay_delays", "cert"])
    def test_left_to_the_mode(self, name: str) -> None:
        """Where the mode decides, null says so."""
        (route,) = loaded(f"reverse: [{{target: {A}, {name}: null}}]\n").reverse
        assert getattr(route, name) is None

    @pytest.mark.parametrize(
        ("setting", "line"),
        [
            ("mode: off", "mode: 'off' must be auto"),
            ("repeat: twice", "repeat: 'twice' must be cycle, last or once"),
            ("keep_host: 1", "keep_host: '1' must be true or false"),
            ("port: 99999", "port: '99999' must be a whole number from 0 to 65535"),
            ("port: 22:22", "port: '22:22' must be a whole number"),
            ("record_statuses: []", "record_statuses: is empty; must be a list (or one) of: a"),
            ("record_statuses: [2xx, 999x]", "record_statuses[1]: '999x' must be a status like"),
            ("record_statuses: [[200]]", "record_statuses[0]: is a list; must be a status like"),
            ("match: {json: id}", "match.json: 'id' must be a JSONPath, which starts with $"),
            ("match: {credentials: none}", "match.credentials: 'none' must be constant or"),
            ("match: {ignore: request.body}", "match.ignore: must be a list of mappings"),
            ("match: [query]", "match: must be a mapping with preset, on, ignore, json"),
            ("match: vcrpy", "match.preset: 'vcrpy' must be buffr, vcr, har or mcp"),
        ],
    )
    def test_refused(self, setting: str, line: str) -> None:
        """Errors in a route are reported with its position in the list."""
        (said,) = refused(f"reverse: [{{target: {A}, {setting}}}]\n")
        assert said.startswith(f"s.yaml:1: reverse[0].{line}")


class TestIgnoreRules:
    @pytest.mark.parametrize(
        ("rule", "why"),
        [
            ("{in: request, pattern: x}", "ignore[0].in: 'request' must be request.body, "),
            ("{in: request.header., pattern: x}", "ignore[0].in: 'request.header.' must be"),
            ("{pattern: x}", "ignore[0].in: is missing; must be request.body, "),
            ("{in: request.body}", "ignore[0].pattern: is missing; must be a pattern"),
            ("{in: request.body, pattern: ''}", "ignore[0].pattern: '' must be a pattern"),
            ("{in: request.body, patern: x, pattern: x}", "ignore[0].patern: unknown key; did"),
            ("{in: request.body, pattern: [x]}", "ignore[0].pattern: is a list; must be"),
            ("{in: request.body, pattern: x, sync_response: 1}", "ignore[0].sync_response: '1'"),
            ("x", "ignore[0]: must be a mapping with in, pattern"),
        ],
    )
    def test_an_invalid_rule_is_skipped(self, rule: str, why: str) -> None:
        """An invalid rule is reported and skipped; the others apply."""
        good = "{in: request.path, pattern: y}"
        text = f"reverse: [{{target: {A}, match: {{ignore: [{rule}, {good}]}}}}]\n"
        config = loaded(text)
        assert config.reverse[0].match.ignore == (IgnoreRule(part="request.path", pattern="y"),)
        (warning,) = config.warnings
        assert warning.startswith(f"s.yaml:1: reverse[0].match.{why}")
        assert warning.endswith("; the rule is skipped")

    def test_broken_yaml_is_an_error(self) -> None:
        """A key given twice is a fault of the file, in a rule too."""
        rule = "{in: request.body, pattern: x, pattern: y}"
        (line,) = refused(f"reverse: [{{target: {A}, match: {{ignore: [{rule}]}}}}]\n")
        assert "given twice" in line


class TestTLS:
    @pytest.mark.parametrize(
        ("written", "tls", "names", "cert"),
        [
            ("", False, (), None),
            ("tls: false", False, (), None),
            ("tls: true", True, (), None),
            ("tls: true, tls_names: [A.example., '[::1]']", True, ("a.example", "::1"), None),
            ("tls: true, tls_names: localhost", True, ("localhost",), None),
            ("cert: c.pem, key: c.key", True, (), Path("c.pem")),
            ("tls: true, cert: c.pem, key: c.key", True, (), Path("c.pem")),
        ],
    )
    def test_taken(
        self, written: str, tls: object, names: tuple[str, ...], cert: Path | None
    ) -> None:
        """A certificate of buffr's CA, for these names, or one of files."""
        (route,) = loaded(f"reverse: [{{target: {A}, {written}}}]\n").reverse
        assert (route.tls, route.tls_names, route.cert) == (tls, names, cert)
        assert (route.key is None) == (cert is None)

    @pytest.mark.parametrize(
        ("written", "line"),
        [
            ("cert: c.pem", "key: is missing; cert and key go together"),
            ("key: c.key", "cert: is missing; cert and key go together"),
            ("client_cert: c.pem", "client_key: is missing; client_cert and client_key go"),
            ("tls: false, cert: c, key: k", "tls: is false, but cert is set"),
            ("tls_names: a", "tls_names: requires tls: true"),
            ("tls: no, tls_names: a", "tls_names: requires tls: true"),
            (
                "tls_names: a, cert: c, key: k",
                "tls_names: applies to certificates of buffr's CA only;",
            ),
            ("tls: 1", "tls: '1' must be true or false"),
            ("tls: true, tls_names: '*.a'", "tls_names: '*.a' is not a host name;"),
            ("tls: true, tls_names: [a, 'b:1']", "tls_names[1]: 'b:1' has a port;"),
        ],
    )
    def test_refused(self, written: str, line: str) -> None:
        """Halves and contradictions."""
        (said,) = refused(f"reverse: [{{target: {A}, {written}}}]\n")
        assert said.startswith(f"s.yaml:1: reverse[0].{line}")

"""The forward proxy's settings: its port, its hosts, who may use it."""

from __future__ import annotations

import json
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from config_sources import loaded, refused

from buffr.config import (
    AccessSettings,
    Config,
    ForwardHost,
    ForwardSettings,
    IgnoreRule,
    MatchSettings,
    ParentProxy,
    StatusSet,
    UpstreamOptions,
)
from buffr.policy.bypass import Bypass
from buffr.policy.mode import Mode
from buffr.wiring.access_keys import with_keys

SECRET = "Zq9xW7vK3m"


def forward(text: str, environ: dict[str, str] | None = None, **flags: str) -> ForwardSettings:
    """The forward proxy of a file with this text under ``forward:``."""
    settings = loaded(f"forward: {text}\n", environ, flags).forward
    assert settings is not None
    return settings


class TestForward:
    def test_defaults(self) -> None:
        """Without a word, all hosts are recorded and replayed, each in its cassette."""
        settings = forward("{}")
        assert settings == ForwardSettings()
        assert (settings.port, settings.mode) == (8080, Mode.AUTO)
        assert settings.bypass == ()
        assert settings.hosts == ()
        assert settings.deny_private is None

    def test_left_empty(self) -> None:
        """A section that is left empty is none, as everywhere."""
        assert loaded("reverse: [{target: http://a}]\nforward:\n").forward is None

    def test_all(self) -> None:
        """Every setting reaches the model, and every row is complete."""
        text = """
forward:
  port: 9000
  mode: replay
  bypass: [S3, 10.0.0.0/8, 'a.example:8443']
  repeat: once
  share: false
  record_statuses: 2xx
  replay_delays: true
  re_record_after: 30d
  match: {query: ts}
  ca_file: ca.pem
  via: http://proxy.example:3128
  scope_cassettes: true
  require_scope: true
  deny_private: false
  hosts:
    - host: API.example.
      mode: record
      re_record_after: 1h
      cassette: api.json
      match: {ignore: [{in: request.path, pattern: x}]}
      ca_file: own.pem
      client_cert: client.pem
      client_key: client.key
      verify: false
      via: none
      resolve: 127.0.0.1
      sni: Other.example
    - host: '*.example'
    - host: '*'
      mode: passthrough
data_dir: d
"""
        config = loaded(text)
        match = MatchSettings(query=("ts",))
        shared: dict[str, Any] = {
            "repeat": "once",
            "share": False,
            "record_statuses": StatusSet.of("2xx"),
            "replay_delays": True,
        }
        general = UpstreamOptions(
            ca_file=Path("ca.pem"), via=ParentProxy.parse("http://proxy.example:3128")
        )
        assert config.forward == ForwardSettings(
            port=9000,
            mode=Mode.REPLAY,
            bypass=("S3", "10.0.0.0/8", "a.example:8443"),
            **shared,
            re_record_after_s=30 * 86400,
            match=match,
            upstream=general,
            scope_cassettes=True,
            require_scope=True,
            deny_private=False,
            data_dir=Path("d"),
            hosts=(
                ForwardHost(
                    host="api.example",
                    mode=Mode.RECORD,
                    re_record_after_s=3600,
                    **shared,
                    cassette=Path("api.json"),
                    match=MatchSettings(ignore=(IgnoreRule(part="request.path", pattern="x"),)),
                    upstream=UpstreamOptions(
                        ca_file=Path("own.pem"),
                        client_cert=Path("client.pem"),
                        client_key=Path("client.key"),
                        verify=False,
                        via="none",
                        resolve="127.0.0.1",
                        sni="other.example",
                    ),
                ),
                ForwardHost(
                    host="*.example",
                    mode=Mode.REPLAY,
                    re_record_after_s=30 * 86400,
                    **shared,
                    cassette=Path("d/_.example.json"),
                    match=match,
                    upstream=general,
                ),
                ForwardHost(
                    host="*",
                    mode=Mode.PASSTHROUGH,
                    re_record_after_s=30 * 86400,
                    **shared,
                    cassette=Path("d/misc.json"),
                    match=match,
                    upstream=general,
                ),
            ),
        )
        assert config.warnings == (
            "s.yaml:26: forward.hosts[0].verify: the certificate of api.example is not verified",
        )

    @pytest.mark.parametrize(
        ("setting", "line"),
        [
            ("port: 65536", "port: '65536' must be a whole number from 0 to 65535"),
            ("mode: proxy", "mode: 'proxy' must be auto, record, replay, cache or passthrough"),
            ("prot: 1", "prot: unknown key; did you mean 'port'?"),
            ("client_cert: x", "client_key: is missing; client_cert and client_key go together"),
            ("verify: false", "verify: is false for all hosts; set it for individual hosts"),
            ("target: 'http://a'", "target: does not apply to the forward proxy, whose upstream"),
            ("host: a", "host: belongs in a row of forward.hosts"),
            (
                "hosts: [{host: a, port: 1}]",
                "hosts[0].port: applies to the whole forward proxy; set",
            ),
            (
                "hosts: [{host: a, target: 'http://a'}]",
                "hosts[0].target: does not apply to the forward",
            ),
            ("deny_private: 1", "deny_private: '1' must be true or false"),
            ("bypass: a b", "bypass: 'a b' is not a host name; must be a host name (which"),
            ("bypass: [ok, 'http://a']", "bypass[1]: 'http://a' is a URL; give the host alone;"),
            ("bypass: [10.0.0.0/33]", "bypass[0]: '10.0.0.0/33' is not an address range;"),
            ("bypass: ['a,b']", "bypass[0]: 'a,b' is not a host name;"),
            ("bypass: {a: b}", "bypass: is a mapping; must be a list (or one) of: a host"),
            ("hosts: {host: a}", "hosts: must be a list of mappings, each after a '-'"),
            ("hosts: [a]", "hosts[0]: must be a mapping with host, cassette"),
            ("hosts: [{mode: auto}]", "hosts[0].host: is missing; must be a host name like"),
            ("hosts: [{host: 'a:1'}]", "hosts[0].host: 'a:1' has a port; a host covers all"),
            ("hosts: [{host: 'a.*'}]", "hosts[0].host: 'a.*' is not a host name;"),
            ('hosts: [{host: "m\u00fc.de"}]', "hosts[0].host: 'm\\xfc.de' is not in ASCII; write"),
            ("hosts: [{host: a}, {host: A.}]", "hosts[1].host: is already the host of hosts[0]"),
            ("hosts: [{host: '*'}, {host: '*'}]", "hosts[1].host: is already the host of hosts[0]"),
            ("hosts: [{host: '*', verify: no}]", "hosts[0].verify: is false for all hosts; set it"),
            ("hosts: [{host: a, client_cert: x}]", "hosts[0].client_key: is missing; client_cert"),
            ("hosts: [{host: a, client_key: x}]", "hosts[0].client_cert: is missing; client_cert"),
            ("hosts: [{host: a, resolve: b.example}]", "hosts[0].resolve: 'b.example' must be an"),
            (
                "hosts: [{host: a, resolve: 127.0.0.1, via: 'http://p.test'}]",
                "hosts[0].resolve: has no effect behind the parent proxy of via",
            ),
            ("hosts: [{host: a, resolve: '[::1]'}]", "hosts[0].resolve: '[::1]' must be an IP"),
            ("hosts: [{host: a, sni: 10.0.0.1}]", "hosts[0].sni: '10.0.0.1' is an address; a TLS"),
            ("hosts: [{host: a, sni: '*.b'}]", "hosts[0].sni: '*.b' is not a host name;"),
            ("hosts: [{host: a, repeat: twice}]", "hosts[0].repeat: 'twice' must be cycle, last"),
        ],
    )
    def test_refused(self, setting: str, line: str) -> None:
        """Errors are reported with their position, and with what is allowed."""
        lines = refused(f"forward: {{{setting}}}\n")
        expected = line.replace("of hosts[0]", "of forward.hosts[0]")
        assert len(lines) == 1
        assert lines[0].startswith(f"s.yaml:1: forward.{expected}")

    @pytest.mark.parametrize("text", ["[]", "8080", "on", "[{port: 1}]"])
    def test_no_mapping(self, text: str) -> None:
        """The section is a mapping."""
        (line,) = refused(f"forward: {text}\n")
        assert line.startswith("s.yaml:1: forward: must be a mapping with cassette, bypass")

    def test_null(self) -> None:
        """A setting that is left empty has its default."""
        assert forward("{deny_private: ~, hosts: ~, ca_file: ~, via: ~}") == ForwardSettings()
        assert forward("{hosts: [{host: a, via: ~, sni: ~}]}") == forward("{hosts: [{host: a}]}")


class TestHosts:
    SETTINGS = forward("{mode: record, hosts: [{host: a.example, mode: replay}, {host: '*.b'}]}")

    @pytest.mark.parametrize(
        ("host", "row", "mode", "cassette"),
        [
            ("a.example", "a.example", Mode.REPLAY, "a.example.json"),
            ("A.Example.", "a.example", Mode.REPLAY, "a.example.json"),
            ("x.b", "*.b", Mode.RECORD, "_.b.json"),
            ("b", "b", Mode.RECORD, "b.json"),
            ("::1", "::1", Mode.RECORD, "__1.json"),
            ("[0::1]", "::1", Mode.RECORD, "__1.json"),
            ("../../x", "../../x", Mode.RECORD, "_._.._x.json"),
        ],
    )
    def test_of(self, host: str, row: str, mode: Mode, cassette: str) -> None:
        """A row for each host, listed or not; a cassette's name is safe whatever the host is."""
        found = self.SETTINGS.of(host)
        assert (found.host, found.mode, found.cassette) == (row, mode, Path(cassette))
        assert found.match == self.SETTINGS.match

    def test_all_others(self) -> None:
        """The row for all others has one cassette for them."""
        settings = forward("{hosts: [{host: '*'}]}", data_dir="d")
        assert settings.of("a") is settings.of("b")
        assert settings.of("a").cassette == Path("d/misc.json")

    def test_unlisted_upstreams(self) -> None:
        """What the section says of upstreams holds for hosts without a row too."""
        settings = forward("{ca_file: ca.pem, via: none}")
        assert settings.of("a").upstream == UpstreamOptions(ca_file=Path("ca.pem"), via="none")

    def test_leniency(self) -> None:
        """Globally, for all hosts, and for one; what is nearer counts."""
        config = loaded("upstream: {lenient: false}\nforward: {}\n")
        assert config.forward is not None
        assert (config.lenient, config.forward.of("a").upstream.lenient) == (False, None)
        assert loaded("forward: {}\n").lenient is True
        settings = forward(
            "{upstream: {lenient: false}, hosts: [{host: a}, {host: b, upstream: {lenient: true}}]}"
        )
        rows = (settings.of(host).upstream.lenient for host in ("a", "b", "c"))
        assert list(rows) == [False, True, False]

    def test_flags_for_every_host(self) -> None:
        """Mode and CA file are set for all by a flag, and mode by its variable."""
        text = "{hosts: [{host: a, mode: passthrough, ca_file: a.pem}]}"
        settings = forward(text, {"BUFFR_MODE": "replay"}, ca_file="f.pem")
        for row in (settings.of("a"), settings.of("b")):
            assert row.mode is Mode.REPLAY
            assert row.upstream.ca_file == Path("f.pem")


class TestPorts:
    @pytest.mark.parametrize(
        ("section", "line"),
        [
            ("{port: 9}", "s.yaml:2: forward.port: 9 is already the port of reverse[1]; must be"),
            ("{}", "s.yaml:2: forward.port: 8080, the default here, is already the port of"),
        ],
    )
    def test_shared(self, section: str, line: str) -> None:
        """The forward proxy and a reverse port on one port are refused."""
        rows = "[{target: http://a}, {target: http://b, port: 9}]"
        (said,) = refused(f"reverse: {rows}\nforward: {section}\n")
        assert said.startswith(line)

    def test_together(self) -> None:
        """Both kinds may be in one file, and any number of them may take a free port."""
        text = "reverse: [{target: http://a, port: 0}]\nforward: {port: 0}\n"
        config = loaded(text)
        assert len(config.reverse) == 1
        assert config.forward is not None


class TestAccess:
    def test_default(self) -> None:
        """Nothing is asked for on loopback."""
        config = loaded("forward: {}\n")
        assert config.access == AccessSettings()
        assert config.access_to_forward.on_loopback
        assert not config.denies_private

    @pytest.mark.parametrize("key", ["key: k, ", ""])
    def test_a_required_key_is_required_on_loopback_too(self, key: str) -> None:
        """And a key alone is not: whoever is on the machine may use a proxy there."""
        config = with_keys(loaded(f"forward: {{}}\naccess: {{{key}required: true}}\n"))
        guard = config.access_to_forward
        assert guard.key
        assert not guard.knows("127.0.0.1")
        assert loaded("forward: {}\naccess: {key: k}\n").access_to_forward.knows("127.0.0.1")

    @pytest.mark.parametrize("listen", ["0.0.0.0", "::", "10.0.0.1", "fe80::1%eth0"])
    def test_refuses_to_start(self, listen: str) -> None:
        """A proxy for everybody is refused, and both ways out are named."""
        (line,) = refused(f"forward: {{}}\nlisten: '{listen}'\n")
        assert line.startswith(
            f"s.yaml:1: forward: refuses to start without access control on {listen}"
        )
        for name in ("access.key", "BUFFR_KEY", "access.allow", "BUFFR_ALLOW"):
            assert name in line

    @pytest.mark.parametrize("listen", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
    def test_starts_on_loopback(self, listen: str) -> None:
        """On a loopback address neither is needed."""
        assert forward("{}", {"BUFFR_LISTEN": listen})

    @pytest.mark.parametrize(
        ("section", "environ", "key", "allow"),
        [
            ("{key: s3cret}", {}, b"s3cret", []),
            ("{key: 0600}", {}, b"0600", []),
            ("{key: true}", {}, b"true", []),
            ("{key: x}", {"BUFFR_KEY": "a:b@c/d"}, b"a:b@c/d", []),
            ("{allow: 10.0.0.0/8}", {}, None, ["10.0.0.0/8"]),
            ("{allow: [10.0.0.1, 'fd00::/8']}", {}, None, ["10.0.0.1/32", "fd00::/8"]),
            ("{}", {"BUFFR_ALLOW": "10.0.0.0/8"}, None, ["10.0.0.0/8"]),
            ("{}", {"BUFFR_ALLOW": "10.0.0.0/8,::1"}, None, ["10.0.0.0/8", "::1/128"]),
            ("{}", {"BUFFR_ALLOW": " 10.0.0.0/8 ,\n::1, "}, None, ["10.0.0.0/8", "::1/128"]),
            ("{allow: '::1', key: k}", {"BUFFR_ALLOW": "0.0.0.0/0"}, b"k", ["0.0.0.0/0"]),
        ],
    )
    def test_given(
        self, section: str, environ: dict[str, str], key: bytes | None, allow: list[str]
    ) -> None:
        """A key or networks, by file or variable, open it to whom they name."""
        config = loaded(
            f"forward: {{require_scope: true}}\nlisten: '::'\naccess: {section}\n", environ
        )
        networks = tuple(ip_network(text) for text in allow)
        assert config.access == AccessSettings(key=key, allow=networks)
        guard = config.access_to_forward
        assert (guard.key, guard.allow) == (key, networks)
        assert (guard.on_loopback, guard.require_scope) == (False, True)
        assert config.denies_private

    @pytest.mark.parametrize(
        ("section", "line"),
        [
            ("{allow: example.com}", "allow: 'example.com' must be an IP address or a range"),
            ("{allow: ['::1', 10.0.0.0/33]}", "allow[1]: '10.0.0.0/33' must be an IP address or"),
            (
                "{allow: 10.1.2.3/8}",
                "allow: '10.1.2.3/8' is an address within 10.0.0.0/8; must be",
            ),
            ("{allow: fe80::1%eth0}", "allow: 'fe80::1%eth0' must be an IP address"),
            ("{kye: s3cret}", "kye: unknown key; did you mean 'key'?"),
        ],
    )
    def test_refused(self, section: str, line: str) -> None:
        """A network that is none is refused, and is then no reason for another line."""
        (said,) = refused(f"forward: {{}}\nlisten: '::'\naccess: {section}\n")[:1]
        assert said.startswith(f"s.yaml:3: access.{line}")

    @pytest.mark.parametrize("key", ["", "two words", "\u00fc", "a\nb", "x" * 257])
    def test_the_key_is_not_shown(self, key: str) -> None:
        """A key that cannot be one is refused without a word of it."""
        key = f"{key}{SECRET}" if key else key
        for lines in (
            refused(f"forward: {{}}\naccess: {{key: {json.dumps(key)}}}\n"),
            refused("forward: {}\n", {"BUFFR_KEY": key}) if key else [""],
            refused(f"forward: {{}}\naccess: {json.dumps(key)}\n"),
            refused(f"forward: {{}}\naccess: [{json.dumps(key)}]\n"),
            refused(f"forward: {{}}\naccess: {{key: [{json.dumps(key)}]}}\n"),
        ):
            assert len(lines) == 1
            assert SECRET not in lines[0]

    def test_not_in_repr(self) -> None:
        """Whoever prints the settings shows no key and no password."""
        config = loaded(
            f"access: {{key: {SECRET}}}\nforward: {{via: 'http://u:{SECRET}@p:1'}}\n",
            {"HTTPS_PROXY": f"http://u:{SECRET}@q"},
        )
        assert SECRET not in repr(config)

    def test_other_listeners_ask_for_it_too(self) -> None:
        """Also on a loopback address, where the forward proxy does not; unless they say."""
        row = "{target: http://a}, {target: http://a, access: {}}"
        config = loaded(f"reverse: [{row}]\naccess: {{key: {SECRET}}}\n")
        closed, opened = (config.access_to(route.access) for route in config.reverse)
        assert closed.key == SECRET.encode()
        assert not closed.knows("127.0.0.1")
        assert opened.is_open


class TestPrivateDestinations:
    TEXT = (
        "reverse: [{target: http://10.0.0.1:81, port: 0}]\n"
        "forward: {bypass: ['*', s3], hosts: [{host: h}, {host: '*.w'}, {host: '*'}]}\n"
        "listen: '::'\n"
        "access: {key: x}\n"
    )

    @pytest.mark.parametrize(
        ("host", "port", "denied"),
        [
            ("other", 80, True),
            ("10.0.0.1", 81, False),
            ("10.0.0.1", 80, True),
            ("h", 80, False),
            ("x.w", 80, False),
            ("s3", 80, False),
            ("x.s3", 80, False),
            ("corp", 80, True),
            ("169.254.169.254", 80, True),
        ],
    )
    def test_who_is_exempt(self, host: str, port: int, denied: object) -> None:
        """What settings name is exempt; ``*`` names nothing, and ``NO_PROXY`` is not a setting."""
        config = loaded(self.TEXT, {"NO_PROXY": "corp,169.254.169.254"})
        assert config.destinations.denies_private(host, port) is denied
        assert config.bypass.matches("corp", port)

    @pytest.mark.parametrize(
        ("section", "listen", "denies"),
        [
            ("{}", "::1", False),
            ("{}", "::", True),
            ("{deny_private: true}", "::1", True),
            ("{deny_private: false}", "::", False),
        ],
    )
    def test_by_address(self, section: str, listen: str, denies: object) -> None:
        """It is on where other machines reach the proxy, unless a setting says otherwise."""
        config = loaded(f"forward: {section}\nlisten: '{listen}'\naccess: {{key: x}}\n")
        assert config.denies_private is denies
        assert config.destinations.denies_private("a", 1) is denies


class TestBypass:
    def bypass(self, config: Config) -> tuple[str, ...]:
        assert isinstance(config.bypass, Bypass)
        return config.bypass.entries

    def test_list_and_environment(self) -> None:
        """The list, and what either spelling of NO_PROXY adds to it."""
        environ = {"NO_PROXY": "b, .c  10.0.0.0/8,", "no_proxy": "b,d:80"}
        config = loaded("forward: {bypass: a}\n", environ)
        assert config.forward is not None
        assert config.forward.bypass == ("a",)
        assert config.no_proxy == ("b", ".c", "10.0.0.0/8", "d:80")
        assert self.bypass(config) == ("a", "b", ".c", "10.0.0.0/8", "d:80")

    def test_flag(self) -> None:
        """The flag's commas stand between hosts; it replaces the file's list."""
        config = loaded("forward: {bypass: a}\n", flags={"bypass": "b,c:80 ,*.d"})
        assert self.bypass(config) == ("b", "c:80", "*.d")
        (line,) = refused("forward: {}\n", flags={"bypass": "b,x/y"})
        assert line.startswith("--bypass: forward.bypass: 'x/y' is not an address range; must be")

    def test_star_in_the_environment(self) -> None:
        """NO_PROXY=* says that buffr needs no proxy, and not that it records nothing."""
        config = loaded("forward: {}\n", {"NO_PROXY": "*,a"})
        assert self.bypass(config) == ("a",)
        assert config.no_proxy == ("*", "a")
        assert self.bypass(loaded("forward: {bypass: '*'}\n")) == ("*",)

    def test_bad_ones_in_the_environment(self) -> None:
        """The environment is others' too: what cannot be read there is reported and skipped."""
        config = loaded("forward: {}\n", {"NO_PROXY": "a,http://b,c:x,127.1,ok"})
        assert config.no_proxy == ("a", "ok")
        assert config.warnings == (
            "NO_PROXY: 'http://b' is a URL; give the host alone; skipped",
            "NO_PROXY: 'c:x' has a port that is not a number; skipped",
            "NO_PROXY: '127.1' is not an IPv4 address; skipped",
        )


class TestCA:
    def test_section(self) -> None:
        """The CA's files are given by the file, variables and flags, one over the other."""
        text = "forward: {}\nca: {cert: f.pem, key: f.key}\n"
        config = loaded(text)
        assert (config.ca_cert, config.ca_key) == (Path("f.pem"), Path("f.key"))
        config = loaded(text, {"BUFFR_CA_CERT": "e.pem", "BUFFR_CA_KEY": "e.key"})
        assert (config.ca_cert, config.ca_key) == (Path("e.pem"), Path("e.key"))
        config = loaded(text, {"BUFFR_CA_CERT": "e.pem"}, {"ca_cert": "x.pem", "ca_key": "x.key"})
        assert (config.ca_cert, config.ca_key) == (Path("x.pem"), Path("x.key"))

    @pytest.mark.parametrize("section", ["", " {}", " ~"])
    def test_empty(self, section: str) -> None:
        """An empty section leaves the defaults."""
        assert loaded(f"forward: {{}}\nca:{section}\n") == loaded("forward: {}\n")

    def test_refused(self) -> None:
        """A file's name is a path, and the key itself does not stand here."""
        (line,) = refused(f"forward: {{}}\nca: {SECRET}\n")
        assert line == "s.yaml:2: ca: must be a mapping with cert, key"

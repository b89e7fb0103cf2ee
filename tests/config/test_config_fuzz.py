"""Hostile settings: a Config, or a ConfigError, and never a word of a secret."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from config_sources import loaded
from hypothesis import given
from hypothesis import strategies as st

from buffr.config import Config, load
from buffr.config.environment import read_variables
from buffr.config.problems import Problems
from buffr.config.written import Source
from buffr.config.yaml_text import compose
from buffr.errors import ConfigError

_KEYS = (
    "reverse target port mode cassette match ignore in pattern json query record_statuses limits "
    "head_bytes head_s listen data_dir log format cassettes file_mode redact headers forward "
    "verify hosts host bypass via sni resolve client_cert access allow ca cert key tls tls_names"
)
_VALUES = (
    "http://a 8080 auto on off ~ null 0600 '0' 2xx '!5xx' 10MB 30s -1 1:30 .nan 0x1f 2024-01-01 "
    "*.a.example a.example:1 10.0.0.0/8 ::1 none http://u:p@q:1 "
    "!x &a *a << = ? | > '' [] {} [ ] { } : - , # \\ \" ' @ ` % \t \n --- ..."
)
_VARIABLES = (
    "BUFFR_MODE BUFFR_TARGET BUFFR_PORT BUFFR_CASSETTE BUFFR_DATA_DIR BUFFR_CA_CERT "
    "BUFFR_REPLAY_NODELAY BUFFR_TARGETS BUFFR_0_TARGET BUFFR_1_PORT BUFFR_3_MODE "
    "BUFFR_KEY BUFFR_ALLOW NO_PROXY no_proxy HTTPS_PROXY http_proxy ALL_PROXY "
    "BUFFR_LISTEN BUFFR_PROXY BUFFR_99999999999_MODE BUFFR_X BUFFR_\n"
)
KEYS, VALUES, VARIABLES = _KEYS.split(), _VALUES.split(" "), _VARIABLES.split(" ")
FLAGS = (
    *("mode", "target", "port", "cassette", "listen", "data_dir", "repeat", "keep_host", "x\n"),
    *("proxy", "bypass", "ca_cert", "ca_key", "ca_file"),
)
yamlish = st.lists(
    st.sampled_from([*KEYS, *VALUES, ": ", "\n", "\n  ", "- ", ", "]) | st.characters(), max_size=40
).map("".join)
nodes = st.recursive(
    st.sampled_from(VALUES) | st.integers().map(str) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(st.sampled_from(KEYS), inner), max_size=4).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=12,
)


def check(text: str | bytes | None, environ: dict[str, str], flags: dict[str, str]) -> str:
    """All that is said about these settings, held against the promises for it."""
    try:
        data = text.encode("utf-8", "replace") if isinstance(text, str) else text
        config = loaded(data, environ, flags)
    except ConfigError as error:
        lines = error.message.split("\n")
    else:
        assert isinstance(config, Config)
        assert config.reverse or config.forward
        lines = list(config.warnings)
    assert all(line.isprintable() and line for line in lines)
    return "\n".join(lines)


class TestHostileText:
    @given(st.text(max_size=60) | yamlish | nodes)
    def test_files(self, text: str) -> None:
        """Any text in a file is settings or a ConfigError of printable lines."""
        check(text, {}, {"target": "http://a"})

    @given(st.binary(max_size=60))
    def test_bytes(self, data: bytes) -> None:
        """So are any bytes."""
        check(data, {}, {"target": "http://a"})

    @given(nodes)
    def test_routes(self, text: str) -> None:
        """So is anything that stands where routes are expected."""
        check(f"reverse: {text}", {"BUFFR_TARGETS": text}, {})

    @given(nodes, nodes)
    def test_the_forward_proxy(self, text: str, access: str) -> None:
        """So is anything that stands where the forward proxy's settings are expected."""
        file = f"forward: {text}\naccess: {access}\nca: {access}\n"
        check(file, {"BUFFR_PROXY": text}, {})
        check(file, {"BUFFR_ALLOW": text, "BUFFR_LISTEN": "::"}, {"bypass": text})

    @given(
        st.dictionaries(
            st.sampled_from(VARIABLES),
            yamlish | st.sampled_from(["replay", "proxy", "http://a", "\udcff", "9", "::", "{}"]),
        ),
        st.dictionaries(
            st.sampled_from(FLAGS),
            st.sampled_from(["replay", "http://a", "", "9", "\udcff", "true", "once", "a\0b"]),
        ),
    )
    def test_variables_and_flags(self, environ: dict[str, str], flags: dict[str, str]) -> None:
        """So are any variables and flags."""
        check(None, environ, flags)

    @given(st.text(max_size=20))
    def test_file_names(self, name: str) -> None:
        """So is any name of a file."""
        with pytest.raises(ConfigError) as caught:
            load(Path("/nowhere-at-all") / name, {}, {"target": "http://a"})
        assert caught.value.message.isprintable()


class TestComposition:
    @given(yamlish | nodes)
    def test_places(self, text: str) -> None:
        """Reading YAML has a value or a problem, and every problem has a place in the text."""
        problems = Problems()
        written = compose(text, Source("f"), "", problems)
        if written is None:
            assert not problems.errors
        for line in problems.errors:
            assert 1 <= int(line.split(":")[1]) <= len(text.splitlines()) + 2

    @given(st.sets(st.integers(0, 6), min_size=1))
    def test_gaps(self, indexes: set[int]) -> None:
        """Numbered routes are taken exactly when they have no gap."""
        problems = Problems()
        read_variables({f"BUFFR_{n}_TARGET": "http://a" for n in indexes}, problems)
        assert bool(problems.errors) == (indexes != set(range(len(indexes))))


SECRET = "Zq9xW7vK3m"
around = st.text(alphabet=string.ascii_lowercase + ":/?#[]{},'\"&*!|>%=- ", max_size=6)


class TestSecrets:
    @given(around, around, st.sampled_from(["target", "listen", "port", "cassette", "mode", "x"]))
    def test_passwords(self, before: str, after: str, key: str) -> None:
        """The password of a URL is not repeated, wherever the URL has gone, however odd it is."""
        url = f"https://user:{before}{SECRET}{after}@h.example/"
        quoted = url.replace("'", "''")
        said = [
            check(f"reverse: [{{target: http://a, {key}: '{quoted}'}}]\n", {}, {}),
            check(f"{key}: '{quoted}'\n", {"BUFFR_TARGET": "http://a"}, {}),
            check(f"'{quoted}': {key}\n", {"BUFFR_TARGET": "http://a"}, {}),
            check(None, {"BUFFR_TARGET": url}, {}),
            check(None, {"BUFFR_0_TARGET": url}, {}),
            check(None, {}, {"target": url, "port": url}),
        ]
        assert SECRET not in "\n".join(said)

    @given(around, around)
    def test_parent_proxies(self, before: str, after: str) -> None:
        """The password of a parent proxy is in no line, wherever the proxy is named."""
        url = f"http://user:{before}{SECRET}{after}@p.example:1"
        quoted = url.replace("'", "''")
        said = [
            check(f"reverse: [{{target: http://a, via: '{quoted}'}}]\n", {}, {}),
            check(f"forward: {{via: '{quoted}', hosts: [{{host: a, via: '{quoted}'}}]}}\n", {}, {}),
            check("forward: {}\n", {"HTTPS_PROXY": url, "all_proxy": url}, {}),
        ]
        assert SECRET not in "\n".join(said)

    @given(around | st.text(max_size=3), around | st.text(max_size=3))
    def test_the_key(self, before: str, after: str) -> None:
        """Nor is the key of the proxy."""
        key = f"{before}{SECRET}{after}"
        quoted = key.replace("'", "''")
        said = [
            check(f"forward: {{}}\naccess: {{key: '{quoted}'}}\n", {}, {}),
            check(f"forward: {{}}\naccess: '{quoted}'\n", {}, {}),
            check("forward: {}\n", {"BUFFR_KEY": key, "BUFFR_KYE": key}, {}),
            check("forward: {}\n", {"BUFFR_LISTEN": "::", "BUFFR_KEY": key}, {}),
        ]
        assert SECRET not in "\n".join(said)

    @given(st.sampled_from(["key", "api_key", "x"]), around)
    def test_queries(self, name: str, before: str) -> None:
        """Nor is a query."""
        url = f"https://h.example/v1?{name}={before}{SECRET}"
        assert SECRET not in check(None, {"BUFFR_TARGET": url}, {})

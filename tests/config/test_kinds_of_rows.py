"""What a route may say is declared once, and every kind of row takes all of it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import yaml
from config_sources import loaded, refused

from buffr.config import Config, ReverseRoute
from buffr.config.forward import ForwardSettings
from buffr.config.gateway import GatewaySettings
from buffr.config.listener import ListenerSettings
from buffr.config.route import RouteSettings
from buffr.config.schema import Setting, settings_of
from buffr.policy.mode import Mode

SAMPLES: dict[str, Any] = {
    "cassette": "c.json",
    "keep_host": True,
    "repeat": "once",
    "replay_delays": True,
    "replay_clock": "shifted",
    "replay_retry_after": "1s",
    "end_of_stream": "client",
    "share": False,
    "record_statuses": ["2xx"],
    "re_record_after": "30d",
    "check_live": "5%",
    "limits": {"per_hour": 3},
    "hooks": "hooks.py",
    "match": {"query": ["ts"]},
    "websocket": {"match": "any"},
    "grpc.descriptors": "api.pb",
    "grpc.reflection": "1s",
    "ca_file": "ca.pem",
    "client_cert": "c.pem",
    "client_key": "c.key",
    "verify": False,
    "via": "http://p.test",
    "resolve": "127.0.0.1",
    "sni": "b.test",
    "faults": [{"status": 500}],
    "fault_seed": 3,
    "upstream.http2": "never",
    "upstream.lenient": False,
    "store": "memory:",
    "on_store_error": "local",
    "ttl": "1h",
    "ttl_by_status": {"404": "1m"},
    "override": ["private"],
    "methods": ["GET"],
    "stale_if_error": "1m",
    "flight_timeout": "5s",
    "tags": ["t"],
}
"""A value other than the default for every setting but ``mode``."""

SETTINGS = [one for one in settings_of(RouteSettings) if one.name != "mode"]
OF_SOME_MODES = [one for one in SETTINGS if one.modes]
KINDS = ("reverse", "gateway", "host", "forward")
TOGETHER = {"client_cert": "client_key", "client_key": "client_cert"}


def row_of(one: Setting) -> dict[str, Any]:
    """A row that gives a setting, in a mode that has a use for it."""
    modes = one.modes or frozenset((Mode.AUTO,))
    row: dict[str, Any] = {"mode": "cache" if modes == {Mode.CACHE} else "auto"}
    for key in filter(None, [one.key, TOGETHER.get(one.key)]):
        outer, _, inner = key.partition(".")
        row[outer] = {inner: SAMPLES[key]} if inner else SAMPLES[key]
    return row


def written(kind: str, row: dict[str, Any]) -> str:
    files: dict[str, Any] = {
        "reverse": {"reverse": [{"target": "http://a.test", **row}]},
        "gateway": {"gateway": {"routes": {"a": {"target": "http://a.test", **row}}}},
        "host": {"forward": {"hosts": [{"host": "a.test", **row}]}},
        "forward": {"forward": {**row, "hosts": [{"host": "a.test"}]}},
    }
    return yaml.safe_dump(files[kind])


def rows_in(config: Config) -> list[RouteSettings]:
    rows: list[RouteSettings] = list(config.reverse)
    if config.gateway is not None:
        rows += config.gateway.routes
    if config.forward is not None:
        rows += config.forward.hosts
    return rows


def value_in(row: RouteSettings, one: Setting) -> object:
    return getattr(getattr(row, one.within) if one.within else row, one.name)


class TestNames:
    @pytest.mark.parametrize("model", [ReverseRoute, ForwardSettings, GatewaySettings])
    def test_each_is_one_settings(self, model: type) -> None:
        """A port and the route behind it are in one row: one would replace the other's value."""
        names = [one.name for one in settings_of(model)]
        assert sorted(names) == sorted(set(names))


class TestRoutes:
    def test_samples(self) -> None:
        """A new setting needs a sample here: that is how it gets tried on every kind."""
        assert SAMPLES.keys() == {one.key for one in SETTINGS}

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("one", SETTINGS, ids=lambda one: one.key)
    def test_every_kind_takes_every_setting(self, kind: str, one: Setting) -> None:
        """Those of ``forward`` hold for a row that says nothing else."""
        text = written(kind, row_of(one))
        if (kind, one.name) == ("forward", "verify"):
            (line,) = refused(text)
            assert "forward.verify: is false for all hosts; set it" in line
            return
        (row,) = rows_in(loaded(text))
        assert value_in(row, one) != one.default

    @pytest.mark.parametrize("one", SETTINGS, ids=lambda one: one.key)
    def test_hosts_without_a_row(self, one: Setting) -> None:
        """They are as ``forward`` says."""
        if one.name == "verify":
            return
        forward = loaded(written("forward", row_of(one))).forward
        assert forward is not None
        listed, unlisted = forward.of("a.test"), forward.of("b.test")
        assert value_in(unlisted, one) == value_in(listed, one) != one.default

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("one", OF_SOME_MODES, ids=lambda one: one.key)
    def test_modes_without_a_use_refuse(self, kind: str, one: Setting) -> None:
        """By name, and with the modes that have a use for it."""
        assert one.modes is not None
        mode = "auto" if one.modes == {Mode.CACHE} else "cache"
        if mode in {use.value for use in one.modes}:
            return
        (line,) = refused(written(kind, row_of(one) | {"mode": mode}))
        assert f".{one.key}: has no effect in mode {mode}, only in mode" in line

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("one", OF_SOME_MODES, ids=lambda one: one.key)
    def test_passthrough_warns(self, kind: str, one: Setting) -> None:
        """It is how buffr is switched off for a while; a file need not be emptied for it."""
        (line,) = loaded(written(kind, row_of(one) | {"mode": "passthrough"})).warnings
        assert f".{one.key}: is not used; it applies to mode" in line

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_mode_by_variable(self, kind: str) -> None:
        """``BUFFR_MODE`` is for a whole file: what it makes useless is a warning."""
        text = written(kind, {"mode": "cache", "ttl": "1h"})
        (warning,) = loaded(text, {"BUFFR_MODE": "replay"}).warnings
        assert warning.endswith(".ttl: is not used; it applies to mode cache")

    def test_a_row_s_own_way_takes_the_place_of_the_general_one(self) -> None:
        """An address and a parent proxy exclude each other."""
        hosts = "hosts: [{host: a, via: 'http://p.test'}, {host: b, resolve: 127.0.0.2}, {host: c}]"
        forward = loaded(f"forward: {{resolve: 127.0.0.1, {hosts}}}").forward
        assert forward is not None
        ways = [(one.upstream.resolve, one.upstream.via is not None) for one in forward.hosts]
        assert ways == [(None, True), ("127.0.0.2", False), ("127.0.0.1", False)]


class TestListeners:
    SAMPLES = "port: 9, tls: true, tls_names: [a.test], access: {key: secret}"

    @pytest.mark.parametrize("kind", ["reverse", "gateway", "forward"])
    def test_every_kind_takes_every_setting(self, kind: str) -> None:
        text = {
            "reverse": f"reverse: [{{target: 'http://a', {self.SAMPLES}}}]",
            "gateway": f"gateway: {{routes: {{a: {{target: 'http://a'}}}}, {self.SAMPLES}}}",
            "forward": f"forward: {{{self.SAMPLES}}}",
        }[kind]
        config = loaded(text)
        one: ListenerSettings | None = config.gateway or config.forward
        one = config.reverse[0] if kind == "reverse" else one
        assert one is not None
        assert (one.port, one.tls, one.tls_names) == (9, True, ("a.test",))
        assert one.access is not None
        assert one.access.key == b"secret"

    @pytest.mark.parametrize("name", [one.name for one in attrs.fields(ListenerSettings)])
    def test_rows_within_refuse_them(self, name: str) -> None:
        """And say where they belong."""
        (line,) = refused(f"forward: {{hosts: [{{host: a, {name}: 1}}]}}")
        assert f"hosts[0].{name}: applies to the whole forward proxy; set forward.{name}" in line
        (line,) = refused(f"gateway: {{routes: {{a: {{target: 'http://a', {name}: 1}}}}}}")
        assert f"routes.a.{name}: applies to the whole gateway; set gateway.{name}" in line

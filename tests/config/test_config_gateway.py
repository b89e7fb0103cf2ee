from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from config_sources import loaded, refused

from buffr.config.gateway import GatewaySettings
from buffr.policy.mode import Mode

TARGET = "http://up.test/base"


def text(**gateway: Any) -> str:
    """A file with this gateway; YAML takes JSON."""
    return json.dumps({"gateway": {"routes": {"wiki": {"target": TARGET}}} | gateway})


def gateway(**given: Any) -> GatewaySettings:
    found = loaded(text(**given)).gateway
    assert found is not None
    return found


class TestRoutes:
    def test_defaults(self) -> None:
        found = gateway()
        (row,) = found.routes
        assert (row.name, row.target.url, row.cassette) == ("wiki", TARGET, Path("wiki.json"))
        assert (row.limits, row.mode) == (None, Mode.CACHE)
        assert (found.port, found.tls, found.access, found.admin.enabled) == (
            8080,
            False,
            None,
            False,
        )

    def test_in_their_order(self) -> None:
        rows = {name: {"target": TARGET} for name in ("b", "a", "x.y_z~1-")}
        assert [row.name for row in gateway(routes=rows).routes] == list(rows)

    def test_limits(self) -> None:
        limits = {"per_second": 2, "per_hour": 500, "max_delay": "5m"}
        (row,) = gateway(routes={"wiki": {"target": TARGET, "limits": limits}}).routes
        assert row.limits is not None
        assert (row.limits.per_second, row.limits.per_minute, row.limits.per_hour) == (2, None, 500)
        assert row.limits.max_delay_s == 300

    def test_what_is_said_of_all_routes_is_said_of_these(self) -> None:
        found = loaded(text(), {"BUFFR_MODE": "passthrough", "BUFFR_PORT": "1"}).gateway
        assert found is not None
        assert (found.routes[0].mode, found.port) == (Mode.PASSTHROUGH, 1)

    def test_another_listener_by_flag_replaces_it(self) -> None:
        assert loaded(text(), {}, {"target": "http://a"}).gateway is None


class TestRefused:
    """Seed defect 10: invalid settings were accepted."""

    @pytest.mark.parametrize(
        ("given", "line"),
        [
            ({"routes": {}}, "gateway.routes: is missing; must contain at least one route"),
            ({"routes": []}, "gateway.routes: must be a mapping of names to mappings"),
            (
                {"routes": {"a/b": {"target": TARGET}}},
                "gateway.routes.'a/b': 'a/b' must be a name",
            ),
            ({"routes": {"..": {"target": TARGET}}}, "gateway.routes...: '..' must be a name"),
            ({"routes": {"a": {}}}, "gateway.routes.a.target: is missing; must be http"),
            ({"admin": {"hosts": ["a:80"]}}, "gateway.admin.hosts[0]: 'a:80' has a port"),
            ({"routes": {"a": {"target": "ftp://x"}}}, "gateway.routes.a.target: 'ftp://x'"),
            ({"routes": {"a": 1}}, "gateway.routes.a: must be a mapping"),
            ({"port": 99999}, "gateway.port: '99999' must be a whole number"),
            ({"access": {"key": ""}}, "gateway.access.key: the value (not shown)"),
            ({"access": {"kye": "x"}}, "gateway.access.kye: unknown key; did you mean 'key'?"),
            ({"admin": {"rate_limit_per_minute": 0}}, "gateway.admin.rate_limit_per_minute: '0'"),
            ({"cert": "x.pem"}, "gateway.key: is missing; cert and key go together"),
            ({"tls_names": "h"}, "gateway.tls_names: requires tls: true"),
        ],
    )
    def test_in_one_line(self, given: dict[str, Any], line: str) -> None:
        lines = refused(text(**given))
        assert len(lines) == 1
        assert f": {line}" in lines[0]

    @pytest.mark.parametrize(
        "limits",
        [
            {"per_second": 0},
            {"per_minute": -1},
            {"per_hour": 1.5},
            {"per_second": "many"},
            {"max_delay": -1},
            {"per_day": 3},
        ],
    )
    def test_limits(self, limits: dict[str, Any]) -> None:
        (line,) = refused(text(routes={"a": {"target": TARGET, "limits": limits}}))
        assert f"gateway.routes.a.limits.{next(iter(limits))}: " in line

    def test_a_route_in_the_place_of_the_admin_pages(self) -> None:
        rows = {"admin": {"target": TARGET}}
        assert gateway(routes=rows).routes[0].name == "admin"
        (line,) = refused(text(routes=rows, admin={"enabled": True}))
        assert "gateway.routes.admin: is reserved for gateway.admin" in line

    def test_a_port_that_another_listener_has(self) -> None:
        both = json.loads(text()) | {"reverse": [{"target": TARGET}]}
        (line,) = refused(json.dumps(both))
        assert "gateway.port: 8080, the default here, is already the port of reverse[0]" in line


class TestAccess:
    def test_an_open_one_that_others_reach_is_said(self) -> None:
        settings = json.loads(text()) | {"listen": "0.0.0.0"}  # nothing listens
        (warning,) = loaded(json.dumps(settings)).warnings
        assert "gateway: anyone who can reach 0.0.0.0 may use it; set access.key" in warning
        for access in ({"key": "k"}, {"allow": "10.0.0.0/8"}, {"required": True}):
            assert loaded(json.dumps(settings | {"access": access})).warnings == ()

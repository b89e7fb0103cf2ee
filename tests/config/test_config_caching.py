"""What mode cache does over what HTTP says, as settings say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from buffr.config import Config, load
from buffr.config.caching import CacheSettings
from buffr.errors import ConfigError
from buffr.policy.mode import Mode


def loaded(text: str, tmp_path: Path, **flags: str) -> Config:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    return load(path, {}, flags)


def cached(row: str, tmp_path: Path, mode: str = "cache") -> CacheSettings:
    text = f"reverse: [{{target: 'http://a', mode: {mode}, {row}}}]"
    return loaded(text, tmp_path).reverse[0].cache


class TestRoutes:
    def test_all_of_it(self, tmp_path: Path) -> None:
        made = cached(
            "ttl: 12h, ttl_by_status: {404: 1m, 5xx: 0}, override: [no-store, cookie], "
            "methods: [GET, POST], stale_if_error: 1d, flight_timeout: 5s, tags: [t], "
            "store: 'memory:'",
            tmp_path,
        )
        assert (made.ttl_s, made.stale_if_error_s, made.flight_timeout_s) == (43200, 86400, 5)
        assert [(404 in each, 503 in each, ttl) for each, ttl in made.ttl_by_status] == [
            (True, False, 60.0),
            (False, True, 0.0),
        ]
        assert made.override == {"no-store", "cookie"}
        assert made.methods == {b"GET", b"POST"}
        assert (made.tags, made.store is not None and made.store.path) == (("t",), None)

    def test_a_file_for_the_store(self, tmp_path: Path) -> None:
        made = cached("store: 'sqlite:x/y.db'", tmp_path)
        assert made.store is not None
        assert made.store.path == Path("x/y.db")

    @pytest.mark.parametrize(
        ("row", "line"),
        [
            ("ttl: 0", "ttl: '0' must be seconds"),
            ("ttl_by_status: [404]", "ttl_by_status: must be a mapping of"),
            ("ttl_by_status: {never: 1m}", "ttl_by_status.never: 'never' must be a status"),
            ("ttl_by_status: {404: often}", "ttl_by_status.404: 'often' must be seconds"),
            ("override: [everything]", "override[0]: 'everything' must be no-store,"),
            ("methods: [PUT]", "methods[0]: 'PUT' must be GET, HEAD or POST"),
            ("store: 'sqlite:'", "store: 'sqlite:' must be memory:, sqlite:PATH or redis://HOST"),
        ],
    )
    def test_refused(self, tmp_path: Path, row: str, line: str) -> None:
        with pytest.raises(ConfigError) as raised:
            cached(row, tmp_path)
        assert f"reverse[0].{line}" in raised.value.message

    def test_another_mode_refuses_it(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as raised:
            loaded("reverse: [{target: 'http://a', ttl: 1h}]", tmp_path)
        assert "reverse[0].ttl: has no effect in mode auto, only in mode cache;" in str(
            raised.value
        )

    def test_another_mode_by_flag_leaves_it_unused(self, tmp_path: Path) -> None:
        text = "reverse: [{target: 'http://a', mode: cache, ttl: 1h}]"
        (warning,) = loaded(text, tmp_path, mode="auto").warnings
        assert "reverse[0].ttl: is not used; it applies to mode cache" in warning


class TestForward:
    def test_hosts_take_what_they_leave_open(self, tmp_path: Path) -> None:
        text = "forward: {mode: cache, ttl: 1h, hosts: [{host: a}, {host: b, ttl: 2h}]}"
        forward = loaded(text, tmp_path).forward
        assert forward is not None
        assert [forward.of(host).cache.ttl_s for host in "abc"] == [3600, 7200, 3600]
        assert forward.of("c").mode is Mode.CACHE

    def test_a_flag_counts_for_every_host(self, tmp_path: Path) -> None:
        text = "forward: {mode: cache, hosts: [{host: a, ttl: 2h}]}"
        forward = loaded(text, tmp_path, ttl="3h").forward
        assert forward is not None
        assert forward.of("a").cache.ttl_s == 10800

    @pytest.mark.parametrize(
        ("forward", "told"),
        [
            ("ttl: 1h", ["forward.ttl"]),
            ("mode: cache, ttl: 1h", []),
            ("ttl: 1h, hosts: [{host: a, mode: cache}]", []),
            ("hosts: [{host: a, ttl: 1h}]", ["forward.hosts[0].ttl"]),
            ("mode: cache, hosts: [{host: a, ttl: 1h}]", []),
            ("mode: cache, hosts: [{host: a, mode: auto, ttl: 1h}]", ["forward.hosts[0].ttl"]),
            ("hosts: [{host: a, mode: cache, ttl: 1h}]", []),
        ],
    )
    def test_another_mode_refuses_them(self, tmp_path: Path, forward: str, told: list[str]) -> None:
        """Those of the forward proxy itself are refused where no host has a use for them."""
        text = f"forward: {{{forward}}}"
        if not told:
            assert loaded(text, tmp_path).warnings == ()
            return
        with pytest.raises(ConfigError) as raised:
            loaded(text, tmp_path)
        (line,) = str(raised.value).splitlines()
        assert f" {told[0]}: has no effect in mode auto, only in mode cache;" in line


class TestGateway:
    @pytest.mark.parametrize("mode", ["", "mode: cache,"])
    def test_mode_cache_is_the_default(self, tmp_path: Path, mode: str) -> None:
        row = f"{{target: 'http://a', {mode} ttl: 1h}}"
        assert loaded(f"gateway: {{routes: {{wiki: {row}}}}}", tmp_path).warnings == ()

    def test_another_mode_refuses_them(self, tmp_path: Path) -> None:
        row = "{target: 'http://a', mode: auto, ttl: 1h}"
        with pytest.raises(ConfigError) as raised:
            loaded(f"gateway: {{routes: {{wiki: {row}}}}}", tmp_path)
        assert ".wiki.ttl: has no effect in mode auto, only in mode cache;" in str(raised.value)


class TestBounds:
    def test_they_hold_for_each_store(self, tmp_path: Path) -> None:
        text = "cache: {bytes: 1GiB, entries: 5, body_bytes: 1MiB}\nreverse: [{target: 'http://a'}]"
        bounds = loaded(text, tmp_path).cache
        assert (bounds.most_bytes, bounds.most_entries, bounds.most_body_bytes) == (
            2**30,
            5,
            2**20,
        )

"""``CachingProxy`` in a program: started, asked, changed, watched and stopped from any thread."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

import buffr
from buffr import CachingProxy, api_buddy
from buffr.embedded.proxy import SecurityError
from buffr.testing import FakeUpstream, Received, answer

Start = Callable[..., CachingProxy]


def echo(received: Received) -> bytes:
    """Says what it was asked, and how often it was asked anything before."""
    return answer(received.line + b"\n" + received.body)


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(echo) as made:
        yield made


@pytest.fixture
def start(upstream: FakeUpstream) -> Iterator[Start]:
    """Starts proxies with ``api`` and ``other`` mapped to the upstream; sections are merged."""
    proxies = []

    def made(**given: Any) -> CachingProxy:
        domain = {"upstream": upstream.url, **given.pop("domain", {})}
        config = {
            "server": {"port": 0},
            "logging": {"enable_console": False},
            "domain_mappings": {"api": domain, "other": {"upstream": upstream.url}},
            **given,
        }
        proxy = CachingProxy(config)
        proxies.append(proxy)
        proxy.start(blocking=False)
        return proxy

    yield made
    for proxy in proxies:
        proxy.stop()


def url(proxy: CachingProxy, path: str = "/api/x") -> str:
    assert proxy.server is not None
    host, port = proxy.server.server_address
    return f"http://{host}:{port}{path}"


def get(proxy: CachingProxy, path: str = "/api/x", **given: Any) -> requests.Response:
    return requests.get(url(proxy, path), timeout=120, **given)


class TestLife:
    def test_started_and_stopped_and_started(self, start: Start, upstream: FakeUpstream) -> None:
        proxy = start()
        assert proxy.is_running()
        with pytest.raises(RuntimeError, match="running already"):
            proxy.start()
        port = url(proxy)
        assert get(proxy).status_code == 200
        proxy.stop()
        proxy.stop()
        assert not proxy.is_running()
        with pytest.raises(requests.ConnectionError):
            requests.get(port, timeout=120)
        proxy.start()
        assert get(proxy).status_code == 200

    def test_a_taken_port_is_an_error(self, start: Start) -> None:
        server = start().server
        assert server is not None
        with pytest.raises(OSError, match=f"{server.server_port}.*in use"):
            start(server={"port": server.server_port})

    @pytest.mark.parametrize(
        ("config", "said"),
        [
            ({"server": {"port": "http"}}, r"server\.port: must be"),
            ({"throttling": {"progressive_max_delay": -1}}, r"throttling\.progressive_max_delay: "),
            ({"logging": {"format": "%(x"}}, r"logging\.format: must be"),
            (
                {"logging": {"enable_file": True, "file_path": "/no/such/x.log"}},
                r"logging\.file_path /no/such/x\.log: cannot be opened",
            ),
            ([], "the settings must be an object, not an array"),
            (0, "the settings must be an object, not a number"),
        ],
    )
    def test_a_wrong_setting_is_an_error(self, config: Any, said: str) -> None:
        """It is a ValueError, and speaks of the user's own keys."""
        with pytest.raises(ValueError, match=said):
            CachingProxy(config)
        proxy = CachingProxy({"logging": {"enable_console": False}})
        with pytest.raises(ValueError, match=said):
            proxy.reload_config(config)
        assert proxy.config["server"]["port"] == 8080

    def test_long_delays_are_no_error(self, start: Start) -> None:
        """They became 1e+07 seconds on their way, which is not a duration."""
        assert get(start(throttling={"progressive_max_delay": 10**7})).ok

    @pytest.mark.parametrize("name", ["localhost", socket.gethostname()])
    def test_the_host_may_be_a_name(self, start: Start, name: str) -> None:
        proxy = start(server={"host": name, "port": 0})
        assert proxy.server is not None
        assert proxy.config["server"]["host"] == name
        assert get(proxy).ok

    def test_a_directory_that_cannot_be_made_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "cache.db"
        proxy = CachingProxy({"server": {"port": 0}, "cache": {"database_path": str(path)}})
        with pytest.raises(
            OSError, match=r"cache\.database_path .*: its directory cannot be created"
        ):
            proxy.start()

    def test_its_own_pages_are_not_for_other_sites(self, start: Start) -> None:
        """Whose names may lead here, and whose pages may send forms here."""
        name = socket.gethostname()
        admin = {"allowed_hosts": ["proxy.example"], "rate_limit_per_minute": 1000}
        proxy = start(server={"host": name, "port": 0}, admin=admin)
        for host, status in ((name, 200), ("proxy.example", 200), ("evil.example", 403)):
            found = get(proxy, "/admin/status", headers={"Host": host})
            assert found.status_code == status
        found = get(proxy, "/admin/status", headers={"Origin": "https://evil.example"})
        assert (found.status_code, found.json()["error_code"]) == (403, "FOREIGN_ORIGIN")

    @pytest.mark.parametrize("hosts", ["proxy.example", ["a/b"], [1], {"a": 1}])
    def test_names_of_its_own_pages_must_be_names(self, hosts: Any) -> None:
        with pytest.raises(ValueError, match=r"admin\.allowed_hosts: must be a list of host names"):
            CachingProxy({"admin": {"allowed_hosts": hosts}})

    def test_a_name_without_an_address_is_an_error(self) -> None:
        proxy = CachingProxy({"server": {"host": "nowhere.invalid", "port": 0}})
        with pytest.raises(OSError, match=r"server\.host nowhere\.invalid: has no address"):
            proxy.start()
        assert not proxy.is_running()

    def test_as_a_context_many_at_a_time(self, upstream: FakeUpstream) -> None:
        config = {
            "server": {"port": 0},
            "logging": {"enable_console": False},
            "domain_mappings": {"api": {"upstream": upstream.url}},
        }
        with CachingProxy(config) as one, CachingProxy(config) as other:
            assert get(one).status_code == get(other).status_code == 200
            assert url(one) != url(other)
            one.stop()
            assert get(other).status_code == 200
        assert not other.is_running()
        assert len(upstream.received) == 2  # each has a cache of its own, in memory

    def test_from_many_threads_at_once(self, start: Start) -> None:
        with ThreadPoolExecutor(8) as pool:
            proxies = list(pool.map(lambda _: start(), range(8)))
            list(pool.map(lambda proxy: proxy.stop(), proxies))
        assert not any(proxy.is_running() for proxy in proxies)

    def test_blocking_returns_when_another_thread_stops_it(self, upstream: FakeUpstream) -> None:
        proxy = CachingProxy({"server": {"port": 0}, "logging": {"enable_console": False}})
        thread = threading.Thread(target=proxy.start, kwargs={"blocking": True})
        thread.start()
        while thread.is_alive() and not proxy.is_running():
            time.sleep(0.005)
        assert thread.is_alive()
        proxy.stop()
        thread.join(120)
        assert not thread.is_alive()

    def test_under_asyncio(self, start: Start) -> None:
        async def main() -> list[int]:
            proxy = start()
            async with httpx.AsyncClient() as client:
                answers = await asyncio.gather(*[client.get(url(proxy)) for _ in range(5)])
            proxy.stop()
            return [one.status_code for one in answers]

        assert asyncio.run(main()) == [200] * 5

    def test_on_shutdown_is_called_once_a_stop(self, start: Start) -> None:
        told: list[tuple[CachingProxy, bool]] = []
        proxy = start(
            callbacks={"on_shutdown": lambda proxy: told.append((proxy, proxy.is_running()))}
        )
        proxy.stop()
        proxy.stop()
        assert told == [(proxy, False)]

    def test_a_callback_that_fails_spoils_no_stop(self, start: Start) -> None:
        def fails(proxy: CachingProxy) -> None:
            raise KeyError

        proxy = start(callbacks={"on_shutdown": fails})
        proxy.stop()
        assert not proxy.is_running()


class TestForks:
    def test_a_child_starts_its_own(self, upstream: FakeUpstream) -> None:
        """As behind gunicorn: what the parent started is the parent's, and goes on."""
        program = f"""
import os, sys
from urllib.request import urlopen
from buffr import CachingProxy
config = {{"server": {{"port": 0}}, "logging": {{"enable_console": False}},
           "domain_mappings": {{"api": {{"upstream": "{upstream.url}"}}}}}}
def works(proxy):
    return urlopen(f"http://127.0.0.1:{{proxy.server.server_port}}/api/x").status == 200
proxy = CachingProxy(config)
proxy.start()
assert works(proxy)
for _ in range(2):
    child = os.fork()
    if child == 0:
        try:
            assert not proxy.is_running()
            proxy.stop()
            proxy.start()
            assert works(proxy)
            proxy.stop()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
assert works(proxy)
proxy.stop()
"""
        ran = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, "")


class TestCaching:
    def test_get_and_post_are_cached(self, start: Start, upstream: FakeUpstream) -> None:
        proxy = start()
        for _ in range(3):
            assert get(proxy, "/api/x?b=2&a=1").text == "GET /x?b=2&a=1 HTTP/1.1\n"
            assert get(proxy, "/api/x?a=1&b=2").text == "GET /x?b=2&a=1 HTTP/1.1\n"
            requests.post(url(proxy), json={"a": 1, "b": 2}, timeout=120)
            requests.post(url(proxy), data='{"b":2, "a":1}', timeout=120,
                          headers={"Content-Type": "application/json"})  # fmt: skip
        assert [one.method for one in upstream.received] == [b"GET", b"POST"]

    def test_other_methods_are_not(self, start: Start, upstream: FakeUpstream) -> None:
        """Defect: HEAD, PATCH and OPTIONS were 501, PUTs were answered from one another."""
        proxy = start()
        for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
            for _ in range(2):
                assert requests.request(method, url(proxy), data=b"x", timeout=120).ok
        assert len(upstream.received) == 8

    @pytest.mark.parametrize("zone", ["UTC", "UTC-14", "UTC+12"])
    def test_a_ttl_ends(
        self, start: Start, upstream: FakeUpstream, zone: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Defect: TTLs were wrong off UTC."""
        with monkeypatch.context() as patch:
            patch.setenv("TZ", zone)
            time.tzset()
            self._ttl_ends(start, upstream)
        time.tzset()

    def _ttl_ends(self, start: Start, upstream: FakeUpstream) -> None:
        proxy = start(domain={"ttl_seconds": 1})
        get(proxy), get(proxy)
        assert len(upstream.received) == 1
        time.sleep(1.1)
        get(proxy)
        assert len(upstream.received) == 2

    def test_a_ttl_counts_where_the_answer_would_be_revalidated(
        self, start: Start, upstream: FakeUpstream
    ) -> None:
        upstream.script = lambda received: answer(
            b"x", headers=[(b"Cache-Control", b"max-age=0, no-cache, must-revalidate")]
        )
        proxy = start()
        get(proxy), get(proxy)
        assert len(upstream.received) == 1

    @pytest.mark.parametrize("said", [b"no-store", b"private"])
    def test_what_is_nobody_else_s_is_not_kept(
        self, start: Start, upstream: FakeUpstream, said: bytes
    ) -> None:
        """Defect: ``no-store`` and ``private`` were ignored."""
        upstream.script = lambda received: answer(b"x", headers=[(b"Cache-Control", said)])
        proxy = start()
        get(proxy), get(proxy)
        assert len(upstream.received) == 2

    def test_two_users_share_nothing(self, start: Start, upstream: FakeUpstream) -> None:
        """Defect: one user's answer went to another."""
        upstream.script = lambda received: answer(received.header(b"authorization") or b"nobody")
        proxy = start()
        for _ in range(2):
            for user in ("Bearer one", "Bearer two"):
                assert get(proxy, headers={"Authorization": user}).text == user
            assert get(proxy).text == "nobody"
        assert len(upstream.received) == 3

    def test_errors_are_passed_on_and_not_kept(self, start: Start, upstream: FakeUpstream) -> None:
        """Defect: a 404 or 503 became a 502 that was cached for the TTL."""
        upstream.script = lambda received: answer(b"sorry", b"503 Not Now", [(b"X-Why", b"load")])
        proxy = start()
        for _ in range(2):
            failed = get(proxy)
            assert (failed.status_code, failed.text) == (503, "sorry")
            assert failed.headers["X-Why"] == "load"
        assert len(upstream.received) == 2

    def test_a_file_outlives_the_proxy(
        self, start: Start, upstream: FakeUpstream, tmp_path: Path
    ) -> None:
        cache = {"database_path": str(tmp_path / "cache.db")}
        first = start(cache=cache)
        get(first)
        first.stop()
        assert get(start(cache=cache)).ok
        assert len(upstream.received) == 1
        assert (tmp_path / "cache.db").stat().st_mode & 0o777 == 0o600

    def test_a_file_that_cannot_be_written_is_said(self, start: Start) -> None:
        """With what these settings have for it, not with flags of another command."""
        with pytest.raises(OSError, match="cannot be written: No such file") as caught:
            start(cache={"database_path": "/proc/self/cache.db"})
        assert "cache.database_path" in str(caught.value)
        assert "--" not in str(caught.value)

    def test_the_other_program_s_file_is_set_aside(self, start: Start, tmp_path: Path) -> None:
        path = tmp_path / "cache.db"
        with sqlite3.connect(path) as theirs:
            theirs.execute("CREATE TABLE cache_entries (cache_key TEXT)")
        theirs.close()
        assert get(start(cache={"database_path": str(path)})).ok
        assert any(".corrupt-" in found.name for found in tmp_path.iterdir())

    def test_the_number_of_entries_is_bounded(self, start: Start) -> None:
        """Defect: ``max_cache_entries`` was ignored."""
        proxy = start(cache={"max_cache_entries": 3})
        for number in range(6):
            get(proxy, f"/api/{number}")
        stats = proxy.get_monitoring_manager().get_cache_stats()
        assert (stats["total_entries"], stats["evicted_entries"], stats["sets"]) == (3, 3, 6)

    def test_a_large_answer_is_not_kept(self, start: Start, upstream: FakeUpstream) -> None:
        upstream.script = lambda received: answer(b"x" * 101)
        proxy = start(cache={"max_cache_response_size": 100})
        get(proxy), get(proxy)
        assert len(upstream.received) == 2

    def test_an_unknown_name_is_404(self, start: Start) -> None:
        missing = get(start(), "/nope/x")
        assert missing.status_code == 404
        assert "other" not in missing.text


class TestClearing:
    @pytest.mark.parametrize("path", [":memory:", "cache.db"])
    def test_a_name_or_all(
        self, start: Start, upstream: FakeUpstream, tmp_path: Path, path: str
    ) -> None:
        """Defect: ``clear_cache(domain)`` removed nothing."""
        file = path if path == ":memory:" else str(tmp_path / path)
        proxy = start(cache={"database_path": file})
        for name in ("/api/1", "/api/2", "/other/1"):
            get(proxy, name)
        assert proxy.clear_cache("api") == 2
        assert proxy.clear_cache("api") == 0
        get(proxy, "/other/1")
        assert len(upstream.received) == 3
        assert proxy.clear_cache() == 1
        get(proxy, "/other/1")
        assert len(upstream.received) == 4

    def test_a_file_is_cleared_while_the_proxy_is_stopped(
        self, start: Start, tmp_path: Path
    ) -> None:
        proxy = start(cache={"database_path": str(tmp_path / "cache.db")})
        get(proxy)
        proxy.stop()
        assert proxy.clear_cache() == 1
        assert proxy.get_monitoring_manager().get_cache_stats()["total_entries"] == 0


class TestChanges:
    def test_limits_change_at_once(self, start: Start) -> None:
        """Defect: live changes of limits did nothing."""
        proxy = start(throttling={"progressive_max_delay": 0})
        assert get(proxy, "/api/1").ok
        proxy.update_config("domain_mappings.api.max_requests_per_minute", 1)
        assert proxy.config["domain_mappings"]["api"]["max_requests_per_minute"] == 1
        assert [get(proxy, f"/api/{n}").status_code for n in (2, 3)] == [429, 429]
        assert get(proxy, "/api/1").ok  # a hit is never limited
        proxy.update_config("domain_mappings.api.max_requests_per_minute", 1000)
        time.sleep(0)
        assert proxy.get_monitoring_manager().get_throttling_stats()["domain_limits"] == {}

    def test_a_new_name_is_served_at_once(self, start: Start, upstream: FakeUpstream) -> None:
        proxy = start()
        assert get(proxy, "/new/x").status_code == 404
        proxy.update_config("domain_mappings.new", {"upstream": upstream.url})
        assert get(proxy, "/new/x").ok
        proxy.reload_config({**proxy.config, "domain_mappings": {}})
        assert get(proxy, "/new/x").status_code == 404

    def test_a_wrong_change_changes_nothing(self, start: Start) -> None:
        proxy = start()
        before = proxy.config
        with pytest.raises(ValueError, match="max_cache_entries"):
            proxy.update_config("cache.max_cache_entries", 0)
        assert proxy.config == before
        assert get(proxy).ok

    def test_a_stopped_proxy_is_changed_for_its_next_start(self, start: Start) -> None:
        proxy = start()
        proxy.stop()
        proxy.update_config("security.require_secure_key", True)
        proxy.start()
        assert get(proxy).status_code == 401


class TestKey:
    def test_it_is_asked_for_everywhere(self, start: Start, upstream: FakeUpstream) -> None:
        """Defect: ``?key=`` raised, the path's key was 404, and the key went upstream."""
        proxy = start(security={"require_secure_key": True, "secure_key": "sesame-" + "x" * 30})
        key = proxy.get_secure_key()
        assert key == "sesame-" + "x" * 30
        assert get(proxy).status_code == 401
        assert get(proxy, headers={"X-API-Buddy-Key": "wrong"}).status_code == 401
        assert not upstream.received
        for number, (path, fields) in enumerate(
            [
                ("/api/{n}", {"X-API-Buddy-Key": key}),
                ("/api/{n}", {"Authorization": f"Bearer {key}"}),
                (f"/api/{{n}}?key={key}", {}),
                (f"/{key}/api/{{n}}", {}),
                (f"/api/{key}/{{n}}", {}),
            ]
        ):
            found = get(proxy, path.format(n=number), headers=fields)
            assert (found.status_code, found.text) == (200, f"GET /{number} HTTP/1.1\n")
        assert not any(key.encode() in one.raw for one in upstream.received)

    @pytest.mark.parametrize("logged", [True, False])
    def test_refusals_are_logged_as_asked(
        self, start: Start, caplog: pytest.LogCaptureFixture, tmp_path: Path, logged: bool
    ) -> None:
        """And the key is in no line."""
        log = tmp_path / "x.log"
        proxy = start(
            security={"require_secure_key": True, "log_security_events": logged},
            logging={"enable_console": False, "enable_file": True, "file_path": str(log)},
        )
        key = proxy.get_secure_key()
        assert get(proxy, "/api/x?key=wrong").status_code == 401
        assert get(proxy, f"/{key}/api/x").ok
        proxy.stop()
        lines = log.read_text()
        assert ("status=401" in lines) is logged
        assert "GET" in lines
        assert str(key) not in lines

    def test_one_is_made(self, start: Start) -> None:
        proxy = start(security={"require_secure_key": True})
        key = proxy.get_secure_key()
        assert key is not None
        assert len(key) == 43
        assert get(proxy, headers={"X-API-Buddy-Key": key}).ok
        assert start().get_secure_key() is None

    def test_a_program_can_ask(self) -> None:
        quiet = {"logging": {"enable_console": False}}
        proxy = CachingProxy({"security": {"require_secure_key": True, "secure_key": "k"}, **quiet})
        assert proxy.validate_request("/k/api/x", {}, {}) == ("k", "/api/x")
        with pytest.raises(SecurityError):
            proxy.validate_request("/api/x", {"Authorization": "Bearer no"}, {})
        assert CachingProxy(quiet).validate_request("/api/x", {}, {}) == (None, "/api/x")


class TestFigures:
    def test_metrics_are_true(self, start: Start, upstream: FakeUpstream) -> None:
        """Defect: they were zeros."""
        proxy = start()
        get(proxy), get(proxy), get(proxy, "/other/x"), get(proxy, "/api/y")
        told = proxy.get_metrics()
        assert (told["total_requests"], told["cache_hits"], told["cache_misses"]) == (4, 1, 3)
        assert (told["throttled"], told["errors"]) == (0, 0)
        assert [one["event_type"] for one in told["events"]] == [
            "cache_miss", "cache_hit", "cache_miss", "cache_miss",
        ]  # fmt: skip
        assert 0 <= told["uptime_seconds"] < 60

    def test_every_call_of_the_monitoring(self, start: Start, upstream: FakeUpstream) -> None:
        proxy = start(domain={"ttl_seconds": 100, "max_requests_per_minute": 50})
        upstream.script = lambda received: answer(
            b"x" * 5000, b"404 No" if b"no" in received.target else b"200 OK"
        )
        get(proxy), get(proxy), get(proxy, "/api/no"), get(proxy, "/other/x")
        monitoring = proxy.get_monitoring_manager()
        cache = monitoring.get_cache_stats()
        assert cache["entries_per_domain"] == {"api": 1, "other": 1}
        assert cache["total_entries"] == 2
        assert cache["cache_size_bytes"] == sum(cache["cache_size_per_domain"].values()) > 0
        assert (cache["hit_count"], cache["miss_count"], cache["hit_rate"]) == (1, 3, 0.25)
        assert cache["miss_rate"] == 0.75
        assert cache["ttl_distribution"]["valid"] == 2
        assert 40_000 < cache["ttl_distribution"]["average_ttl_remaining"] < 43_300
        upstreams = monitoring.get_upstream_stats()
        assert upstreams["overall"]["total_requests"] == 3
        api = upstreams["by_domain"]["api"]
        assert api["errors_by_status"] == {"200": 1, "404": 1, "timeout": 0}
        assert (api["error_rate"], api["success_rate"], api["requests_per_hour"]) == (0.5, 0.5, 2)
        assert api["avg_response_time_ms"] > 0
        throttling = monitoring.get_throttling_stats()
        assert throttling["requests_per_domain"]["api"] == {
            "current_hour_requests": 2,
            "total_requests": 2,
            "violations": 0,
            "current_delay_seconds": 0,
        }
        assert throttling["throttle_state"]["api"]["is_throttled"] is False
        assert throttling["default_requests_per_hour"] == 1000
        assert repr(throttling["progressive_max_delay"]) == "300"  # whole, as it was given
        assert repr(api["requests_per_hour"]) == "2"
        health = monitoring.get_proxy_health()
        assert health["recent_errors"] == []
        assert health["active_threads"] >= 2
        assert monitoring.get_database_stats()["db_file_path"] == "in_memory"

    def test_throttled_and_failed_requests_are_told_apart(
        self, start: Start, upstream: FakeUpstream
    ) -> None:
        proxy = start(
            domain={"max_requests_per_minute": 1}, throttling={"progressive_max_delay": 0}
        )
        assert [get(proxy, f"/api/{n}").status_code for n in (1, 2)] == [200, 429]
        upstream.close()
        assert get(proxy, "/other/x").status_code == 502
        told = proxy.get_metrics()
        assert (told["cache_misses"], told["throttled"], told["errors"]) == (1, 1, 1)
        (event,) = [one for one in told["events"] if one["event_type"] == "throttle"]
        details = event["details"]
        assert 0 < details["delay"] == details["reset"] <= 61
        assert (details["domain"], details["cache_miss"]) == ("api", True)
        assert (details["limit"], details["remaining"]) == (1, 0)
        monitoring = proxy.get_monitoring_manager()
        assert "other" in str(monitoring.get_proxy_health()["recent_errors"])
        state = monitoring.get_throttling_stats()
        assert state["requests_per_domain"]["api"]["violations"] == 1
        assert state["throttle_state"]["api"]["last_violation"] == pytest.approx(
            time.time(), abs=60
        )

    def test_collapsed_misses_are_one_call(self, start: Start, upstream: FakeUpstream) -> None:
        def slow(received: Received) -> bytes:
            time.sleep(0.2)
            return answer(b"x")

        upstream.script = slow
        proxy = start()
        with ThreadPoolExecutor(20) as pool:
            assert all(pool.map(lambda _: get(proxy).ok, range(20)))
        assert len(upstream.received) == 1
        monitoring = proxy.get_monitoring_manager()
        assert monitoring.get_upstream_stats()["overall"]["total_requests"] == 1

    def test_of_a_stopped_proxy(self, start: Start) -> None:
        proxy = CachingProxy({"logging": {"enable_console": False}})
        monitoring = proxy.get_monitoring_manager()
        assert monitoring.get_cache_stats()["total_entries"] == 0
        assert monitoring.get_throttling_stats()["requests_per_domain"] == {}
        assert monitoring.get_upstream_stats()["by_domain"] == {}
        assert monitoring.get_database_stats()["db_health"] == "healthy"


class TestAdminPages:
    def test_the_settings_are_shown_as_they_were_given(self, start: Start) -> None:
        """With defaults, without secrets; a callback is none of JSON's."""
        proxy = start(
            security={"require_secure_key": True, "secure_key": "not-for-anybody-else"},
            callbacks={"on_shutdown": lambda _: None},
        )
        found = get(proxy, "/admin/config?key=not-for-anybody-else")
        assert "not-for-anybody-else" not in found.text
        shown = found.json()
        assert shown["configuration"]["security"]["require_secure_key"] is True
        assert shown["configuration"]["cache"]["default_ttl_seconds"] == 86400
        assert shown["sanitized_fields"] == ["security.secure_key"]
        proxy.update_config("domain_mappings.api.ttl_seconds", 5)
        shown = get(proxy, "/admin/config?key=not-for-anybody-else").json()
        assert shown["configuration"]["domain_mappings"]["api"]["ttl_seconds"] == 5

    def test_entries_are_told_apart_by_whose_ttl_they_have(self, start: Start) -> None:
        proxy = start(domain={"ttl_seconds": 60})
        for path in ("/api/1", "/api/2", "/other/1"):
            get(proxy, path)
        ttls = get(proxy, "/admin/cache").json()["ttl_distribution"]
        assert (ttls["default_ttl"], ttls["custom_ttl"]) == (1, 2)
        domains = get(proxy, "/admin/domains").json()["domain_mappings"]
        assert [repr(one["ttl_seconds"]) for one in domains.values()] == ["60", "86400"]

    def test_a_cache_that_cannot_be_read_is_told(self, start: Start, tmp_path: Path) -> None:
        proxy = start(cache={"database_path": str(tmp_path / "cache.db")})
        running = proxy._running
        assert running is not None
        store = running.gateway.store
        assert store is not None
        running.thread.call(store.close)
        status = get(proxy, "/admin/status").json()
        assert status["status"] == status["components"]["cache_engine"]["status"] == "error"
        assert status["components"]["database_manager"]["connection_active"] is False
        failed = get(proxy, "/admin/cache")
        assert (failed.status_code, failed.json()["error_code"]) == (500, "CACHE_ERROR")
        assert get(proxy, "/admin/health").ok


class TestParts:
    """The parts that programs reach through a proxy of reference-api-buddy."""

    def test_the_cache(self, start: Start) -> None:
        proxy = start(cache={"max_cache_entries": 2, "max_cache_response_size": 99})
        for path in ("/api/1", "/api/1", "/api/2", "/other/1"):
            get(proxy, path)
        cache = proxy.cache_engine
        assert (cache.max_cache_entries, cache.max_response_size) == (2, 99)
        assert cache.get_stats() == {
            "hits": 1, "misses": 3, "evictions": 1, "sets": 3, "expired": 0,
            "compressed": 0, "decompressed": 0,
        }  # fmt: skip
        performance = cache.get_cache_performance()
        assert (performance["total_entries"], performance["hit_rate"]) == (2, 0.25)
        assert performance["total_size_bytes"] > 0
        assert cache.clear_cache("other") == 1
        assert cache.clear() == 1
        assert cache.get_cache_performance()["total_entries"] == 0

    @pytest.mark.parametrize("path", [":memory:", "cache.db"])
    def test_the_database(self, start: Start, tmp_path: Path, path: str) -> None:
        path = path if path == ":memory:" else str(tmp_path / path)
        proxy = start(cache={"database_path": path})
        assert proxy.db_manager.database_path == path
        assert proxy.db_manager.get_stats()["db_health"] == "healthy"

    def test_the_key(self, start: Start) -> None:
        proxy = start(security={"require_secure_key": True})
        manager = proxy.security_manager
        assert manager.security_enabled
        assert manager.secure_key == proxy.get_secure_key()
        assert manager.validate_request(manager.secure_key)
        assert not manager.validate_request("other")
        proxy.update_config("security.secure_key", "sesame")
        assert proxy.security_manager.secure_key == "sesame"
        name = "secure_key"  # to set it here would change nothing
        with pytest.raises(AttributeError):
            setattr(proxy.security_manager, name, "x")

    def test_a_callback_may_be_set_later(self, start: Start) -> None:
        proxy = start()
        told: list[CachingProxy] = []
        proxy.callbacks["on_shutdown"] = told.append
        proxy.stop()
        assert told == [proxy]

    def test_the_names_are_there_to_import(self) -> None:
        assert api_buddy.__version__ == buffr.__version__
        assert all(hasattr(api_buddy, name) for name in api_buddy.__all__)
        with pytest.raises(ValueError, match=r"security\.secure_key: must be"):
            api_buddy.SecurityManager({"secure_key": "with a space"})


class TestManyConnections:
    def test_idle_ones_hold_no_threads(self, start: Start) -> None:
        """Defect: 400 idle connections held 401 threads."""
        proxy = start()
        assert proxy.server is not None
        before = threading.active_count()
        idle = [socket.create_connection(proxy.server.server_address) for _ in range(400)]
        assert get(proxy).ok
        assert threading.active_count() <= before + 2
        for one in idle:
            one.close()

    def test_300_come_at_once(self, start: Start) -> None:
        """Defect: with a backlog of 5 and a thread each, 54 of 300 timed out."""
        proxy = start()
        get(proxy)
        assert proxy.server is not None
        host, port = proxy.server.server_address

        async def ask() -> bytes:
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET /api/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            answered = await reader.read()
            writer.close()
            return answered[:15]

        async def ask_all() -> list[bytes]:
            return await asyncio.wait_for(asyncio.gather(*[ask() for _ in range(300)]), 120)

        assert asyncio.run(ask_all()) == 300 * [b"HTTP/1.1 200 OK"]


class TestRedirects:
    def test_they_are_the_clients_to_follow(self, start: Start, upstream: FakeUpstream) -> None:
        """Defect: credentials followed redirects to other hosts."""

        def elsewhere(received: Received) -> bytes:
            return answer(b"", b"302 Found", [(b"Location", b"http://elsewhere.test/x")])

        with FakeUpstream(elsewhere) as redirecting:
            proxy = start(domain={"upstream": redirecting.url})
            credentials = {"Authorization": "Bearer theirs"}
            found = get(proxy, headers=credentials, allow_redirects=False)
            assert found.status_code == 302
            assert found.headers["Location"] == "http://elsewhere.test/x"
            assert len(redirecting.received) == 1
        assert not upstream.received

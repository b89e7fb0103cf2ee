"""The limits of upstreams, by the calls that reference-api-buddy has for them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from buffr.api_buddy import CachingProxy, ThrottleManager
from buffr.testing import FakeUpstream, answer

LIMITS = {"default_requests_per_hour": 5, "progressive_max_delay": 8, "domain_limits": {"api": 3}}


def exceeded(manager: ThrottleManager, name: str, count: int) -> list[bool]:
    """What is said after each of so many requests."""
    said = []
    for _ in range(count):
        manager.record_request(name)
        said.append(manager.should_throttle(name))
    return said


class TestOwn:
    def test_a_name_has_its_limit_or_that_of_all(self) -> None:
        manager = ThrottleManager(LIMITS)
        assert exceeded(manager, "api", 5) == [False, False, False, True, True]
        assert exceeded(manager, "other", 6) == [False] * 5 + [True]

    def test_violations_double_the_delay(self) -> None:
        manager = ThrottleManager(LIMITS)
        assert manager.get_throttle_delay("api") == 1
        exceeded(manager, "api", 6)
        state = manager.get_state("api")
        assert (state.violations, state.delay_seconds, state.total_requests) == (3, 8, 6)
        assert state.last_violation == pytest.approx(time.time(), abs=60)
        assert len(state.request_timestamps) == 6
        assert state.request_timestamps[-1] == pytest.approx(time.time(), abs=60)

    def test_reset(self) -> None:
        manager = ThrottleManager(LIMITS)
        exceeded(manager, "api", 4)
        manager.reset_throttle("api")
        state = manager.get_state("api")
        assert (state.violations, state.delay_seconds, state.last_violation) == (0, 1, 0.0)
        assert not manager.should_throttle("api")
        assert manager.get_required_delay("api") == 0

    def test_every_window_counts_for_the_delay(self) -> None:
        mapping = {"upstream": "https://a.test", "max_requests_per_second": 1}
        manager = ThrottleManager({"progressive_max_delay": 8}, {"api": mapping})
        manager.record_request("api")
        assert 0 < manager.get_required_delay("api") <= 1.1
        slow = ThrottleManager(
            {"progressive_max_delay": 8}, {"api": {**mapping, "max_requests_per_minute": 1}}
        )
        slow.record_request("api")
        assert slow.get_required_delay("api") == -1.0

    def test_settings_are_told(self) -> None:
        mapping = {"upstream": "https://a.test", "max_requests_per_minute": 7}
        manager = ThrottleManager(LIMITS, {"api": mapping})
        assert (manager.default_limit, manager.max_delay, manager.time_window) == (5, 8, 3600)
        assert manager.domain_limits == {"api": 3}
        assert (manager.domain_rpm_limits, manager.domain_rps_limits) == ({"api": 7}, {})
        assert manager.states == {}

    def test_a_wrong_setting_is_an_error(self) -> None:
        with pytest.raises(ValueError, match=r"throttling\.default_requests_per_hour: must be"):
            ThrottleManager({"default_requests_per_hour": 0})

    def test_a_snapshot_goes_on_elsewhere(self) -> None:
        first, second = ThrottleManager(LIMITS), ThrottleManager(LIMITS)
        exceeded(first, "api", 4)
        second.load_state(json.loads(json.dumps(first.persist_state())))
        one, other = first.get_state("api"), second.get_state("api")
        assert (one.violations, one.delay_seconds) == (other.violations, other.delay_seconds)
        assert other.request_timestamps == pytest.approx(one.request_timestamps, abs=1)
        assert second.should_throttle("api")

    def test_from_many_threads(self) -> None:
        manager = ThrottleManager({"default_requests_per_hour": 1000})
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: manager.record_request("api"), range(800)))
        assert manager.get_state("api").total_requests == 800


@pytest.fixture
def proxy() -> Iterator[CachingProxy]:
    with FakeUpstream(lambda received: answer(received.target)) as upstream:
        config = {
            "server": {"port": 0},
            "logging": {"enable_console": False},
            "domain_mappings": {"api": {"upstream": upstream.url, "max_requests_per_minute": 3}},
            "throttling": {"progressive_max_delay": 5},
        }
        with CachingProxy(config) as made:
            yield made


def get(proxy: CachingProxy, path: str) -> int:
    assert proxy.server is not None
    url = f"http://127.0.0.1:{proxy.server.server_port}{path}"
    return requests.get(url, timeout=120).status_code


class TestOfAProxy:
    def test_its_requests_and_those_that_are_recorded_count_together(
        self, proxy: CachingProxy
    ) -> None:
        manager = proxy.throttle_manager
        assert manager.states["api"].total_requests == 0
        assert get(proxy, "/api/1") == get(proxy, "/api/2") == 200
        assert manager.get_state("api").total_requests == 2
        assert manager.get_required_delay("api") == 0
        manager.record_request("api")
        assert manager.get_required_delay("api") == -1.0
        assert not manager.should_throttle("api")
        assert get(proxy, "/api/3") == 429
        state = manager.get_state("api")
        assert (state.violations, state.delay_seconds, state.total_requests) == (1, 2, 3)
        assert state.last_violation > 0
        manager.reset_throttle("api")
        assert get(proxy, "/api/3") == 200

    def test_settings_are_those_of_now(self, proxy: CachingProxy) -> None:
        assert proxy.throttle_manager.domain_rpm_limits == {"api": 3}
        proxy.update_config("domain_mappings.api.max_requests_per_minute", 9)
        assert proxy.throttle_manager.domain_rpm_limits == {"api": 9}

    def test_an_unknown_name_and_a_stopped_proxy_are_at_rest(self, proxy: CachingProxy) -> None:
        assert proxy.throttle_manager.get_state("nobody").total_requests == 0
        get(proxy, "/api/1")
        proxy.stop()
        assert proxy.throttle_manager.get_state("api").total_requests == 0
        assert proxy.throttle_manager.states == {}

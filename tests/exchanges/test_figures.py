"""Figures of a proxy are true, and cost the same however much has happened."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from buffr.exchanges.metrics import Metrics, UpstreamMetrics, whole


@pytest.mark.parametrize(
    ("number", "shown"), [(300.0, "300"), (300, "300"), (0.0, "0"), (2.5, "2.5")]
)
def test_whole_numbers_stay_whole(number: float, shown: str) -> None:
    assert repr(whole(number)) == shown


class TestRequests:
    def test_each_kind_is_counted(self) -> None:
        clock = Clock()
        figures = Metrics(clock.seconds)
        for kind in ("cache_hit", "cache_hit", "cache_miss", "throttle", "error"):
            figures.record_event(kind, {"request": "GET /x"})
        clock.advance(7)
        told = figures.get_metrics()
        assert (told["total_requests"], told["cache_hits"], told["cache_misses"]) == (5, 2, 1)
        assert (told["throttled"], told["errors"]) == (1, 1)
        assert (told["start_time"], told["uptime_seconds"]) == (0, 7)
        assert told["events"][0] == {"event_type": "cache_hit", "details": {"request": "GET /x"}}

    def test_events_are_bounded(self) -> None:
        """Defect: the table of events grew for ever."""
        figures = Metrics(lambda: 0.0)
        for _ in range(5000):
            figures.record_event("error")
        assert len(figures.get_metrics()["events"]) == len(figures.recent_errors) == 100
        assert figures.errors == 5000


class TestUpstreams:
    def test_the_shape_of_nothing(self) -> None:
        assert UpstreamMetrics().shape(0) == {
            "total_requests": 0,
            "avg_response_time_ms": 0.0,
            "success_rate": 0.0,
            "error_rate": 0.0,
            "requests_per_hour": 0.0,
            "errors_by_status": {"timeout": 0},
        }

    def test_they_are_counted_together_and_apart(self) -> None:
        figures = Metrics(lambda: 100.0)
        figures.asked("a", 200, 0.1)
        figures.asked("a", 404, 0.3)
        figures.asked("b", None, 2.0)
        told = figures.upstream.shape(100)
        assert told["errors_by_status"] == {"200": 1, "404": 1, "timeout": 1}
        assert told["avg_response_time_ms"] == 800
        assert told["error_rate"] == 2 / 3
        assert figures.by_domain["a"].shape(100)["success_rate"] == 0.5
        assert figures.by_domain["b"].last_error == "timeout"
        assert figures.by_domain["a"].last_success_at == 100.0

    @given(st.lists(st.floats(0, 900), max_size=60))
    def test_an_hour_is_an_hour(self, steps: list[float]) -> None:
        """By the minute: nothing younger than 59 minutes is missing, nothing over an hour stays."""
        figures = UpstreamMetrics()
        now, times = 1e9, []
        for step in steps:
            now += step
            times.append(now)
            figures.add(now, 200, 0.0)
            counted = figures.last_hour(now)
            assert sum(now - at < 59 * 60 for at in times) <= counted
            assert counted <= sum(now - at <= 60 * 60 for at in times)

"""Metrics, alerts and the dashboard, as Prometheus' own tools see them; and what was saved."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from admin_client import Admin

from buffr.admin.metrics import Family, rendered
from buffr.testing import BuffrProcess, FakeUpstream, Received, answer, chunked
from buffr.testing.upstream import Step

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "prometheus-alerts.yaml"
DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"
SETTINGS = """
reverse:
  - {target: 'UPSTREAM', port: 0, mode: auto, cassette: c.json, limits: {per_minute: 1000}}
  - {target: 'UPSTREAM', port: 0, mode: cache, ttl: 1h}
  - {target: 'http://127.0.0.1:1', port: 0, mode: passthrough}
forward: {port: 0, mode: auto}
prices: {local-model: 1/2}
prices_of: '2026-11-01'
"""
CHAT = {
    "model": "gpt-5-mini-2025-08-07",
    "usage": {
        "prompt_tokens": 1000,
        "completion_tokens": 500,
        "prompt_tokens_details": {"cached_tokens": 200},
    },
}
_BEGUN = {"model": "local-model", "usage": {"input_tokens": 10, "cache_read_input_tokens": 5}}
STREAM = [
    f"data: {json.dumps(event)}\n\n".encode()
    for event in ({"message": _BEGUN}, {"usage": {"output_tokens": 100}})
]
UNKNOWN = {"model": "nobody-knows-it", "usage": {"prompt_tokens": 7, "completion_tokens": 3}}


def promtool(*arguments: str, text: str = "") -> None:
    tool = shutil.which("promtool")
    assert tool is not None, "promtool is in Debian's package prometheus"
    done = subprocess.run(
        [tool, *arguments], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def queries() -> list[str]:
    """The queries of the dashboard, with what Grafana fills in."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    texts = [target["expr"] for panel in panels for target in panel["targets"]]
    return [text.replace("$__rate_interval", "5m").replace("$instance", ".*") for text in texts]


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admin]:
    directory = tmp_path_factory.mktemp("metrics")

    def script(request: Received) -> bytes | Iterator[Step]:
        if b"/messages" in request.target:
            return chunked(STREAM, [(b"Content-Type", b"text/event-stream")])
        body = UNKNOWN if b"unknown" in request.target else CHAT
        return answer(json.dumps(body).encode(), headers=[(b"Content-Type", b"application/json")])

    with FakeUpstream(script) as upstream:
        (directory / "buffr.yaml").write_text(SETTINGS.replace("UPSTREAM", upstream.url))
        environment = {"BUFFR_ADMIN": "0"}
        with BuffrProcess.run("serve", cwd=directory, env=environment, listeners=4) as buffr:
            auto, cache, failing, forward = (f"http://127.0.0.1:{port}" for port in buffr.ports)
            with httpx.Client(trust_env=False) as client:
                for _ in range(3):
                    client.post(f"{auto}/v1/chat/completions", json={})
                    client.post(f"{auto}/v1/messages", json={})
                    client.post(f"{auto}/unknown/v1/chat/completions", json={})
                    client.get(f"{cache}/cached")
                client.get(f"{failing}/x")
            with httpx.Client(trust_env=False, proxy=forward) as client:
                client.get(f"{upstream.url}/y")
            yield Admin.of(buffr, directory)


class TestPrometheus:
    def test_accepts_a_scrape(self, admin: Admin) -> None:
        answer = admin.client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        promtool("check", "metrics", text=answer.text)
        assert re.search(r'buffr_exchanges_total{.*source="cassette".*} 6\.0', answer.text)
        assert re.search(r'buffr_errors_total{kind="upstream_failed".*} 1\.0', answer.text)

    def test_accepts_the_alerts(self) -> None:
        promtool("check", "rules", str(ALERTS))

    def test_accepts_the_dashboards_queries(self, tmp_path: Path) -> None:
        rules = [
            {"record": f"dashboard:query:{number}", "expr": query}
            for number, query in enumerate(queries())
        ]
        file = tmp_path / "queries.yaml"
        file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
        promtool("check", "rules", str(file))

    def test_they_ask_for_metrics_that_there_are(self, admin: Admin) -> None:
        scrape = admin.client.get("/metrics").text
        there = set(re.findall(r"^(?:# TYPE )?([a-z_]+)", scrape, re.MULTILINE))
        for text in (*queries(), ALERTS.read_text()):
            for name in re.findall(r"\b(?:buffr|process)_[a-z_]+", text):
                assert name in there, name


class TestRendering:
    def test_a_thousand_series_hold_others_up_by_five_milliseconds_at_most(self) -> None:
        """The best of several scrapes: a busy machine makes each of them slower."""
        samples = tuple(((f"route-{number}", "cassette"), number) for number in range(50))
        families = [
            Family(f"buffr_metric_{number}", "counter", "Doc.", ("route", "source"), samples)
            for number in range(20)
        ]
        rendered(families)
        longest = [_longest_gap(families) for _ in range(5)]
        assert min(longest) < sys.getswitchinterval() + 0.001


def _longest_gap(families: list[Family]) -> float:
    """For how long this thread did not get its turn while another one rendered."""
    thread = threading.Thread(target=rendered, args=(families,))
    thread.start()
    longest, last = 0.0, time.perf_counter()
    while thread.is_alive():
        time.sleep(0.0001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    thread.join()
    return longest


class TestSavings:
    def test_tokens_and_money_by_model(self, admin: Admin) -> None:
        found: Any = admin.get("/api/savings")
        models = {one["model"]: one for one in found["models"]}
        chat = models["gpt-5-mini-2025-08-07"]
        assert (chat["requests"], chat["input_tokens"], chat["output_tokens"]) == (2, 2000, 1000)
        # 800 fresh, 200 cached and 500 output tokens, twice.
        assert chat["usd"] == pytest.approx(2 * (800 * 0.25 + 200 * 0.025 + 500 * 2) / 1e6)
        stream = models["local-model"]
        assert (stream["input_tokens"], stream["cached_tokens"]) == (30, 10)
        assert stream["usd"] == pytest.approx(2 * (15 * 1 + 100 * 2) / 1e6)
        unknown = models["nobody-knows-it"]
        assert (unknown["input_tokens"], unknown["usd"]) == (14, None)
        assert found["prices_of"] == "2026-11-01"
        assert found["total"]["bytes"] > 0
        assert found["total"]["usd"] == pytest.approx(chat["usd"] + stream["usd"])
        assert found["spent"]["input_tokens"] == 1000 + 15 + 7

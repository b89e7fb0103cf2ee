"""Limits on how often an upstream is asked: exact, in every mode, for misses alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import define
from raw_http import Answer, RawClient, ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer


@define
class Limited:
    """A limited buffr and its upstream, which notes when it was asked."""

    process: BuffrProcess
    upstream: FakeUpstream
    times: list[float]

    def all_at_once(self, targets: list[bytes]) -> list[Answer]:
        clients = [RawClient(self.process.ports[0]) for _ in targets]
        for client, target in zip(clients, targets, strict=True):
            client.send(request(target))
        answers = [client.answer() for client in clients]
        for client in clients:
            client.socket.close()
        return answers


@contextmanager
def limited(directory: Path, limits: dict[str, Any], mode: str = "auto") -> Iterator[Limited]:
    times: list[float] = []

    def script(received: Received) -> bytes:
        times.append(time.monotonic())
        if received.target == b"/busy":
            return answer(b"no", b"429 Too Many Requests", [(b"Retry-After", b"1")])
        return answer(received.target)

    with FakeUpstream(script) as upstream:
        row = {"target": upstream.url, "port": 0, "mode": mode, "limits": limits}
        settings = directory / "buffr.yaml"
        settings.write_text(yaml.safe_dump({"reverse": [row]}), "utf-8")
        with BuffrProcess.run("serve", "--config", str(settings), cwd=directory) as process:
            yield Limited(process, upstream, times)


class TestMisses:
    """Seed defect 9: a limit of 2 a second let 20 concurrent requests through in 2 s."""

    @pytest.mark.parametrize("mode", ["auto", "record", "passthrough"])
    def test_the_upstream_never_sees_more_than_its_limit(self, tmp_path: Path, mode: str) -> None:
        """60 at once, 20 a second: the next 20 come a second later, and all are answered.

        A busy machine notes them later, never before.
        """
        with limited(tmp_path, {"per_second": 20}, mode) as running:
            began = time.monotonic()
            answers = running.all_at_once([b"/%d" % number for number in range(60)])
            assert [one.body for one in answers] == [b"/%d" % number for number in range(60)]
            for number, moment in enumerate(sorted(running.times)):
                assert moment - began >= number // 20 * 0.99

    def test_hits_and_joined_flights_count_for_nothing(self, tmp_path: Path) -> None:
        with limited(tmp_path, {"per_hour": 1, "max_delay": 0}) as running:
            answers = running.all_at_once(20 * [b"/one"])
            assert {one.status for one in answers} == {200}
            assert ask(running.process.ports[0], request(b"/one")).status == 200
            assert len(running.times) == 1

    def test_whoever_leaves_gives_the_turn_back(self, tmp_path: Path) -> None:
        with limited(tmp_path, {"per_second": 2}) as running:
            port = running.process.ports[0]
            for number in range(2):
                assert ask(port, request(b"/%d" % number)).status == 200
            clients = [RawClient(port) for _ in range(200)]  # a hundred seconds' worth
            for number, client in enumerate(clients):
                client.send(request(b"/left/%d" % number))
            for client in clients:
                client.reset()
            began = time.monotonic()
            assert ask(port, request(b"/stays")).status == 200
            assert time.monotonic() - began < 60
            targets = [received.target for received in running.upstream.received]
            assert b"/stays" in targets


class TestRefusals:
    def test_too_long_a_wait_is_429_with_the_true_time(self, tmp_path: Path) -> None:
        """Seed defect 9: Retry-After said the maximum, not the wait."""
        with limited(tmp_path, {"per_minute": 1, "max_delay": "5s"}) as running:
            port = running.process.ports[0]
            assert ask(port, request(b"/1")).status == 200
            refused = ask(port, request(b"/2"))
            assert refused.status == 429
            seconds = int(refused.header(b"retry-after") or b"")
            assert 55 <= seconds <= 61
            assert refused.header(b"ratelimit") == b'"minute";r=0;t=%d' % seconds
            assert refused.header(b"ratelimit-policy") == b'"minute";q=1;w=60'
            assert refused.header(b"x-ratelimit-limit") == b"1"
            assert refused.header(b"x-ratelimit-remaining") == b"0"
            assert refused.header(b"x-ratelimit-reset") == b"%d" % seconds
            assert b"max_delay is 5 s" in refused.body
            running.process.wait_for('level=WARN msg="GET /2" status=429 dur=.* src=limit')

    def test_identical_ones_are_refused_again_and_again(self, tmp_path: Path) -> None:
        """Seed defect 2: after a 429 the next identical request hung for 60 s."""
        with limited(tmp_path, {"per_hour": 1, "max_delay": 0}) as running:
            assert ask(running.process.ports[0], request(b"/1")).status == 200
            for _ in range(3):
                assert ask(running.process.ports[0], request(b"/2")).status == 429


class TestLearning:
    def test_the_upstreams_own_429_is_heeded(self, tmp_path: Path) -> None:
        with limited(tmp_path, {}) as running:
            port = running.process.ports[0]
            assert ask(port, request(b"/busy")).status == 429
            assert ask(port, request(b"/next")).status == 200
            assert running.times[1] - running.times[0] >= 1

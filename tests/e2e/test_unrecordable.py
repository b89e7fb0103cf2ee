"""A disk that takes no more, seen from outside: probes, metrics, and clients."""

from __future__ import annotations

import json
import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from admin_client import Admin
from bench import eventually
from raw_http import RawClient, ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer

BODY = random.Random(7).randbytes(60_000)
LIMIT_BYTES = 300_000


def script(received: Received) -> bytes:
    return answer(received.target + BODY)


@contextmanager
def served(directory: Path, row: dict[str, object]) -> Iterator[tuple[BuffrProcess, Admin]]:
    """One port of these settings, and the admin listener."""
    (directory / "buffr.yaml").write_text(json.dumps({"reverse": [{"port": 0, **row}]}))
    env = {"BUFFR_ADMIN": "0", "BUFFR_DATA_DIR": str(directory)}
    with BuffrProcess.run("serve", cwd=directory, env=env) as running:
        yield running, Admin.of(running, directory)


def failed_appends(admin: Admin) -> float:
    text = admin.client.get("/metrics").text
    (line,) = [one for one in text.splitlines() if one.startswith("buffr_failed_appends_total ")]
    return float(line.split()[1])


@pytest.mark.parametrize(
    ("mode", "where"),
    [
        ("auto", {"cassette": "c.json"}),
        ("auto", {"store": "sqlite:c.db"}),
        ("cache", {"store": "sqlite:c.db", "ttl": "1h"}),
    ],
    ids=["cassette", "sqlite", "cache"],
)
def test_no_file_may_grow(tmp_path: Path, mode: str, where: dict[str, str]) -> None:
    """As with a quota: clients get their answers, probes and metrics say so; then it goes on."""
    with (
        FakeUpstream(script) as upstream,
        served(tmp_path, {"target": upstream.url, "mode": mode, **where}) as (running, admin),
    ):
        pid = running.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        assert admin.get("/api/ready")["ready"]
        assert failed_appends(admin) == 0
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (LIMIT_BYTES, before[1]))
        targets = [b"/%d" % number for number in range(12)]
        with RawClient(running.ports[0]) as client:
            for target in targets:
                client.send(request(target))
                assert client.answer().body == target + BODY
        eventually(lambda: failed_appends(admin) > 0)
        lost = failed_appends(admin)
        assert lost < len(targets)
        assert admin.client.get("/api/health").status_code == 200, "a restart would mend nothing"
        red = admin.client.get("/api/ready")
        assert red.status_code == 503
        assert "recordings were lost within the last minute" in red.text
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        for target in (b"/later", b"/later"):
            assert ask(running.ports[0], request(target)).body == target + BODY
        asked = [one.target for one in upstream.received]
        assert asked.count(b"/later") == 1
        assert failed_appends(admin) == lost
        for target in targets:
            assert ask(running.ports[0], request(target)).body == target + BODY
    assert len(upstream.received) == len(targets) + lost + 1

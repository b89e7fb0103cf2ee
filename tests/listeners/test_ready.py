"""Whether buffr is ready while recordings are lost, and for how long after it."""

from __future__ import annotations

import json
import resource
from pathlib import Path

from service_bench import ServiceBench, service

HOST = "93.184.215.14"


def ready(bench: ServiceBench) -> tuple[int, list[str]]:
    """The status of /api/ready, and the names of the checks that fail."""
    client = bench.client(bench.admin)
    host = f"Host: 127.0.0.1:{bench.admin.address[1]}"
    client.send(f"GET /api/ready HTTP/1.1\r\n{host}\r\nConnection: close\r\n\r\n".encode())
    bench.until(lambda: bool(client.wire.value()))
    head, _, body = client.wire.taken().partition(b"\r\n\r\n")
    failing = [each["name"] for each in json.loads(body)["checks"] if not each["ok"]]
    return int(head.split()[1]), failing


def test_a_lost_recording_makes_it_unready_for_a_minute(tmp_path: Path) -> None:
    """Its client has its answer, and the next recordings do not make it ready any sooner."""
    cassette = tmp_path / "c.json"
    settings = {
        "forward": {"port": 0, "mode": "auto", "cassette": str(cassette)},
        "admin": {"address": "127.0.0.1:0"},
    }
    with service(tmp_path, settings) as bench:
        assert ready(bench) == (200, [])
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))  # as good as a full disk
        try:
            assert bench.ask(HOST, "/lost").endswith(b"ok")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert ready(bench)[0] == 503
        assert "recordings" in ready(bench)[1]
        assert bench.ask(HOST, "/kept").endswith(b"ok")
        assert bench.recorded("c.json") == ["/kept"]
        assert ready(bench) == (503, ["recordings"])
        bench.idle(59)
        assert ready(bench) == (503, ["recordings"])
        bench.idle(2)
        assert ready(bench) == (200, [])

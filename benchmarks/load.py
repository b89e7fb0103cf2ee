"""wrk: many requests on a few connections, each as soon as the answer before it is there."""

from __future__ import annotations

import json
import subprocess

from attrs import frozen

from benchmarks.bench import Bench
from benchmarks.message import Answer, Request
from benchmarks.process import Failed, Process

__all__ = ["Load", "put_load"]

_CONNECTIONS = 64

_REPORT = """
function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  io.stderr:write(string.format(
    '{"answers": %d, "bytes": %d, "seconds": %f, "failed": %d, "errors": %d}',
    summary.requests, summary.bytes, summary.duration / 1e6, failed, errors.status))
end
"""


@frozen
class Load:
    """How many answers came in how many seconds, and the server's processor time for them.

    ``late_ms``: within which time 99 of 100 came, where requests have a time at which they are due.
    """

    answers: int
    seconds: float
    processor_s: float
    late_ms: float = 0.0

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds

    @property
    def cost_us(self) -> float:
        """Microseconds of processor time per answer."""
        return self.processor_s * 1e6 / self.answers


def put_load(bench: Bench, server: Process, request: Request, expected: Answer) -> Load:
    """Load a server for one round.

    Raises ``Failed`` if an answer is an error, or not as long as the expected one. Where an
    error is expected, its text may vary, and every answer must be one.
    """
    script = bench.file("load.lua")
    script.write_text(request.lua + _REPORT)
    used_s, waited_s = server.processor_s(), server.waited_s()
    done = subprocess.run(
        [
            *(bench.program("wrk"), "-t1", f"-c{_CONNECTIONS}", f"-d{bench.seconds}s"),
            *("--timeout", "30s", "-s", str(script), server.url + request.target),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failed(f"wrk: {done.stdout}{done.stderr}")
    report = json.loads(done.stderr)
    answers, size = report["answers"], expected.size_bytes
    if request.status == 200:
        # Answers that are under way at the end are counted by their bytes only.
        whole = 0 <= report["bytes"] - answers * size <= _CONNECTIONS * size
        right = whole and not report["errors"]
    else:
        right = report["errors"] == answers
    if report["failed"] or not right:
        raise Failed(f"{server.name} gave other answers than expected: {report}, not {size} bytes")
    server.answered += answers
    bench.waits.append((server.waited_s() - waited_s) / report["seconds"])
    return Load(answers, report["seconds"], server.processor_s() - used_s)

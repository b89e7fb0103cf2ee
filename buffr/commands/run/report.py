"""The report of a run, for programs: JSON, or JUnit's XML. docs/how-to/run.md has the schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from buffr.commands import junit
from buffr.commands.run.outcome import AskedHost, ExchangeCount, Outcome
from buffr.isolate.ledger import Refusal

__all__ = ["as_json", "as_junit", "write_report"]

_VERSION = 1
_SUITE = "buffr run"


def write_report(path: Path, outcome: Outcome) -> None:
    """Write the report in the format of the file's suffix. Raises ``OSError``."""
    path.write_bytes((as_junit if path.suffix == ".xml" else as_json)(outcome))


def as_json(outcome: Outcome) -> bytes:
    """The whole outcome as a JSON object."""
    counters, tally = outcome.counters, outcome.tally
    report = {
        "version": _VERSION,
        "command": outcome.command,
        "exit_code": outcome.exit_code,
        "command_exit_code": outcome.ended.code,
        "killed_by": outcome.ended.killed_by,
        "duration_ms": _ms(outcome.dur_s),
        "failures": [{"flag": one.flag, "why": one.why} for one in outcome.failures],
        "counts": {
            "hits": counters.hits,
            "fetched": counters.fetched,
            "recorded": counters.recorded,
            "misses": counters.misses,
            "errors": counters.errors,
            "refused": outcome.refused,
            "not_recorded": counters.failed_appends,
            "unused": len(outcome.unused),
            "drifted": len(tally.drift),
            "without_tls": len(tally.no_tls),
            "bypassed": sum(outcome.bypassed.values()),
            "escapes": sum(outcome.escapes.values()),
        },
        "requests": [_row(row) for row in tally.rows.values()],
        "requests_left_out": tally.left_out,
        "recorded": [
            {**_request(request), "count": count} for request, count in tally.recordings.items()
        ],
        "refused": [
            {"status": int(status), "detail": why, "count": count}
            for (status, why), count in tally.refusals.items()
        ],
        "drifted": [
            {
                **_request(request),
                "severity": verdict.word,
                "findings": list(map(str, verdict.findings)),
            }
            for request, verdict in tally.drift.items()
        ],
        "unused": [
            {"cassette": str(one.cassette), **_request(one.request)} for one in outcome.unused
        ],
        "without_tls": [{"host": host, "detail": why} for host, why in tally.no_tls.items()],
        "bypassed": [{"host": host, "count": n} for host, n in outcome.bypassed.items()],
        "asked": [_asked(one) for one in outcome.hosts],
        "escapes": [_escape(one, count) for one, count in outcome.escapes.items()],
        "nested": [{"program": name, "count": n} for name, n in outcome.nested.items()],
    }
    return json.dumps(report, indent=2).encode() + b"\n"


def _row(row: ExchangeCount) -> dict[str, Any]:
    return {
        **_request(row.request),
        "status": row.status,
        "src": row.src,
        "count": row.count,
        "duration_ms": _ms(row.dur_s),
        "detail": row.detail,
    }


def _asked(one: AskedHost) -> dict[str, Any]:
    return {
        "host": one.asked.host,
        "port": one.asked.port,
        "programs": one.asked.programs,
        "requests": one.by_source,
        "relayed": one.asked.relayed,
    }


def _escape(one: Refusal, count: int) -> dict[str, Any]:
    return {
        "program": one.program,
        "protocol": one.protocol,
        "host": one.host,
        "port": one.port,
        "detail": one.why,
        "flag": one.flag,
        "count": count,
    }


def _request(request: str) -> dict[str, str]:
    method, _, url = request.partition(" ")
    return {"method": method, "url": url}


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def as_junit(outcome: Outcome) -> bytes:
    """A suite with a case for the command, each kind of request, and each unused recording.

    It fails only where the run does: by the command, or by what was asked
    to make it fail. Else a miss, an escape or an unused recording is a skipped case.
    """
    makers = (_own_cases, _request_cases, _escape_cases, _unused_cases)
    cases = [case for make in makers for case in make(outcome)]
    return junit.document([junit.suite(_SUITE, cases, outcome.dur_s)])


def _own_cases(outcome: Outcome) -> Iterator[Element]:
    command = junit.case(_SUITE, outcome.command, outcome.dur_s)
    if outcome.ended.code:
        killed_by = outcome.ended.killed_by
        why = f"exit code {outcome.ended.code}"
        why += "" if killed_by is None else f", killed by {killed_by}"
        junit.mark(command, "failure", why)
    yield command
    failures = {one.flag: one.why for one in outcome.failures}
    for what in outcome.fail_on:
        case = junit.case(_SUITE, f"--fail-on-{what}", 0.0)
        if case.get("name") in failures:
            junit.mark(case, "failure", failures[f"--fail-on-{what}"])
        yield case


def _request_cases(outcome: Outcome) -> Iterator[Element]:
    for row in outcome.tally.rows.values():
        case = junit.case(f"{_SUITE}: {row.src}", f"{row.request} {row.status}", row.dur_s)
        if row.src == "miss":
            junit.mark(case, "failure" if "miss" in outcome.fail_on else "skipped", row.detail)
        elif row.detail:
            junit.note(case, row.detail)
        SubElement(_properties(case), "property", name="count", value=str(row.count))
        yield case


def _escape_cases(outcome: Outcome) -> Iterator[Element]:
    tag = "failure" if "escape" in outcome.fail_on else "skipped"
    for one, count in outcome.escapes.items():
        case = junit.case(f"{_SUITE}: escape", f"{one.program} {one.protocol} {one.where}", 0.0)
        junit.mark(case, tag, f"{one.why}\n{one.flag}".rstrip())
        SubElement(_properties(case), "property", name="count", value=str(count))
        yield case


def _unused_cases(outcome: Outcome) -> Iterator[Element]:
    tag = "failure" if "unused" in outcome.fail_on else "skipped"
    for number, one in enumerate(outcome.unused, 1):
        case = junit.case(f"{_SUITE}: unused", f"{one.cassette}: {one.request} #{number}", 0.0)
        junit.mark(case, tag, "never replayed")
        yield case


def _properties(case: Element) -> Element:
    properties = Element("properties")
    case.insert(0, properties)
    return properties

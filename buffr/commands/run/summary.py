"""The summary of a run, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from buffr.commands.run.outcome import Outcome, times
from buffr.commands.run.tally import Row, Tally
from buffr.commands.terminal import Paint, plain

__all__ = ["summary"]

_MOST = 10
_MOST_UNUSED = 5
_MOST_LINES = 12
_WIDTH = 9


def summary(outcome: Outcome, paint: Paint) -> str:
    """A line of counts, then what there is to be said of each."""
    lines = [f"{paint('1', 'buffr:')} {_counts(outcome, paint)}"]
    lines += _listed("31", "miss", _rows(outcome.misses), _MOST, paint)
    lines += _listed("31", "failed", _rows(outcome.failed), _MOST, paint)
    lines += _listed("31", "refused", _refusals(outcome), _MOST, paint)
    no_tls = [f"{host}\n{why}" for host, why in outcome.tally.no_tls.items()]
    lines += _listed("31", "no TLS", no_tls, _MOST, paint)
    if "record" in outcome.fail_on:
        lines += _listed("33", "recorded", list(outcome.tally.recordings), _MOST, paint)
    left = [f"{one.cassette}: {one.request}" for one in outcome.unused]
    lines += _listed("33", "unused", left, _MOST_UNUSED, paint)
    bypassed = [_counted(host, count) for host, count in outcome.bypassed.items()]
    lines += _listed("36", "bypassed", bypassed, _MOST, paint)
    for failure in outcome.failures:
        # A command that failed has the say.
        code = "" if outcome.ended.code else "; exit code 1"
        lines.append(f"{paint('1;31', 'buffr:')} {failure.flag}: {failure.why}{code}")
    return "".join(f"{line}\n" for line in lines)


def _counts(outcome: Outcome, paint: Paint) -> str:
    counters = outcome.counters
    tally = outcome.tally
    if not (tally.rows or tally.refusals or tally.no_tls):
        return _nothing(tally)
    parts = [
        ("32", times(counters.hits, "hit", "hits"), True),
        ("36", f"{counters.recorded} recorded", True),
        ("31" if counters.misses else "", times(counters.misses, "miss", "misses"), True),
        ("31", f"{counters.errors} failed", counters.errors),
        ("31", f"{outcome.refused} refused", outcome.refused),
        ("31", times(len(tally.no_tls), "host", "hosts") + " without TLS", tally.no_tls),
        ("31", f"{counters.failed_appends} not recorded", counters.failed_appends),
        ("33", f"{len(outcome.unused)} unused", outcome.unused),
        ("36", times(len(outcome.bypassed), "host", "hosts") + " bypassed", outcome.bypassed),
    ]
    return ", ".join(paint(code, text) if code else text for code, text, shown in parts if shown)


def _nothing(tally: Tally) -> str:
    if tally.connections:
        came = times(tally.connections, "connection", "connections")
        return f"{came} came to the proxy, and no request; the command may not speak HTTP"
    return "nothing came through the proxy; the command may not use HTTPS_PROXY"


def _rows(rows: Sequence[Row]) -> list[str]:
    return [f"{_counted(row.request, row.count)}\n{row.detail}" for row in rows]


def _refusals(outcome: Outcome) -> list[str]:
    found = outcome.tally.refusals.items()
    return [_counted(f"{status} {why}", count) for (status, why), count in found]


def _counted(text: str, count: int) -> str:
    return f"{text} ({count} times)" if count > 1 else text


def _listed(code: str, word: str, texts: Sequence[str], most: int, paint: Paint) -> Iterator[str]:
    """The first of these texts, each with further lines below its first one."""
    for text in texts[:most]:
        first, *more = text.splitlines() or [""]
        yield f"  {paint(code, word.ljust(_WIDTH))} {plain(first)}"
        for line in more[:_MOST_LINES] + ["..."] * (len(more) > _MOST_LINES):
            yield f"  {' ' * _WIDTH} {plain(line)}"
    if len(texts) > most:
        yield f"  {' ' * _WIDTH} ... and {len(texts) - most} more"

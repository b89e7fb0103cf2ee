"""The events of a run and its result: tally, outcome, and the printed summary.

Nothing of the proxy is imported here: a command that never asked it for
anything has an outcome too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import define, field, fields_dict, frozen

from buffr.commands.live.status import saved_words
from buffr.commands.run.child import Ended
from buffr.commands.terminal import Paint, plain, times
from buffr.isolate.ledger import AskedFor, Ledger, Refusal
from buffr.origin import host_and_port

if TYPE_CHECKING:
    from buffr.drift.verdict import Verdict
    from buffr.exchanges.exchange import Counters, Finished
    from buffr.exchanges.route import Route
    from buffr.matching.suggestion import Suggestion
    from buffr.wiring.unused import Unused

__all__ = [
    "AskedHost",
    "Counts",
    "ExchangeCount",
    "Failure",
    "Outcome",
    "Tally",
    "summary",
    "times",
]

_MOST_ROWS = 20_000
_MOST = 10
_MOST_UNUSED = 5
_MOST_LINES = 12
_WIDTH = 9
_SOURCES = {"cassette": "replayed", "upstream": "fetched", "miss": "missed", "cache": "from cache"}


@define
class ExchangeCount:
    """Counts similar exchanges: one method and target, with one status from one source."""

    request: str
    status: int
    src: str
    level: str
    detail: str
    count: int = 0
    dur_s: float = 0.0


@define(eq=False)
class Tally:
    """The engine's ``Observer``.

    Rows are bounded; ``left_out`` counts exchanges beyond them. ``refusals``
    are requests that got an error before they became an exchange. ``no_tls``
    has hosts with which a client failed to set up TLS, and why.
    ``connections`` counts client connections. ``proposed`` are the rules that
    would have made misses hits, each with the host for which it was found.
    ``saved`` is what hits have spared, as the admin API has it, by ``prices_of``.
    ``drift`` is what checks of the live API found, by the requests.
    """

    rows: dict[tuple[str, int, str], ExchangeCount] = field(factory=dict)
    left_out: int = 0
    recordings: dict[str, int] = field(factory=dict)
    refusals: dict[tuple[str, str], int] = field(factory=dict)
    routes: set[Route] = field(factory=set)
    no_tls: dict[str, str] = field(factory=dict)
    connections: int = 0
    proposed: dict[tuple[str, Suggestion], None] = field(factory=dict)
    saved: dict[str, Any] = field(factory=dict)
    prices_of: str = ""
    drift: dict[str, Verdict] = field(factory=dict)

    def finished(self, exchange: Finished) -> None:
        """Count an exchange."""
        if exchange.route is not None:
            self.routes.add(exchange.route)
            origin, proposed = exchange.route.origin, exchange.proposed
            if proposed is not None and origin is not None and len(self.proposed) < _MOST_ROWS:
                self.proposed[origin.host, proposed] = None
        name = (exchange.request, exchange.status, exchange.src)
        row = self.rows.get(name)
        if row is None:
            if len(self.rows) >= _MOST_ROWS:
                self.left_out += 1
                return
            row = self.rows[name] = ExchangeCount(*name, exchange.level, exchange.detail)
        row.count += 1
        row.dur_s += exchange.dur_s

    def recorded(self, request: str) -> None:
        """Count a recording."""
        if request in self.recordings or len(self.recordings) < _MOST_ROWS:
            self.recordings[request] = self.recordings.get(request, 0) + 1

    def drifted(self, request: str, verdict: Verdict) -> None:
        """Note that the live API answers otherwise."""
        if len(self.drift) < _MOST_ROWS:
            self.drift[request] = verdict

    def refused(self, status: str, why: str) -> None:
        """Count a request that never became an exchange."""
        name = (status, why)
        if name in self.refusals or len(self.refusals) < _MOST_ROWS:
            self.refusals[name] = self.refusals.get(name, 0) + 1

    def without_tls(self, host: str, why: str) -> None:
        """Note a host whose certificate a client did not accept."""
        if len(self.no_tls) < _MOST_ROWS:
            self.no_tls.setdefault(host, why)

    def from_source(self, src: str) -> list[ExchangeCount]:
        """The rows of one source: ``cassette``, ``upstream``, ``miss``, ``bypass``."""
        return [row for row in self.rows.values() if row.src == src]


@frozen
class Counts:
    """The engine's counts, for its ``Counters``."""

    hits: int = 0
    fetched: int = 0
    recorded: int = 0
    misses: int = 0
    errors: int = 0
    failed_appends: int = 0

    @classmethod
    def of(cls, counters: Counters) -> Counts:
        return cls(**{name: getattr(counters, name) for name in fields_dict(cls)})


@frozen
class AskedHost:
    """A host and port that an isolated command connected to; ``by_source`` counts its requests."""

    asked: AskedFor
    by_source: dict[str, int] = field(factory=dict)


@frozen
class Failure:
    """Why an otherwise successful run fails. ``flag`` is the option that requested it."""

    flag: str
    why: str


@frozen(eq=False)
class Outcome:
    """The result of a run. ``command`` is only the program's name: arguments may be secret.

    ``fail_on`` is what was asked to make it fail.
    """

    command: str
    ended: Ended
    dur_s: float
    counters: Counts
    tally: Tally
    unused: Sequence[Unused]
    fail_on: tuple[str, ...]
    ledger: Ledger | None = None
    """What an isolated command asked for, and was refused."""

    @property
    def misses(self) -> list[ExchangeCount]:
        return self.tally.from_source("miss")

    @property
    def failed(self) -> list[ExchangeCount]:
        """Exchanges that failed in buffr or at the upstream."""
        return [row for row in self.tally.rows.values() if row.level == "ERROR"]

    @property
    def refused(self) -> int:
        """How many requests got an error from buffr before they became an exchange."""
        return sum(self.tally.refusals.values())

    @property
    def bypassed(self) -> dict[str, int]:
        """How often each host was reached without interception."""
        found: dict[str, int] = {}
        for row in self.tally.from_source("bypass"):
            host = row.request.partition(" ")[2].removeprefix("http://").partition("/")[0]
            found[host] = found.get(host, 0) + row.count
        return found

    @property
    def hosts(self) -> list[AskedHost]:
        """The hosts and ports that an isolated command connected to, in that order."""
        if self.ledger is None:
            return []
        found = {where: AskedHost(asked) for where, asked in self.ledger.asked.items()}
        for row in self.tally.rows.values():
            origin = _origin(row.request)
            if origin in found:
                one = found[origin]
                one.by_source[row.src] = one.by_source.get(row.src, 0) + row.count
        return list(found.values())

    @property
    def escapes(self) -> dict[Refusal, int]:
        """What an isolated command tried and was refused, and how often."""
        return {} if self.ledger is None else self.ledger.refusals

    @property
    def nested(self) -> dict[str, int]:
        """The network namespaces that an isolated command's programs made, by program."""
        return {} if self.ledger is None else self.ledger.nested

    @property
    def failures(self) -> list[Failure]:
        """The failures that the flags asked for."""
        why = {
            "miss": self._missed(),
            "record": self.counters.recorded
            and f"{times(self.counters.recorded, 'answer was', 'answers were')} recorded",
            "escape": self.escapes
            and f"{times(sum(self.escapes.values()), 'attempt', 'attempts')} to get out refused",
            "unused": self.unused
            and f"{times(len(self.unused), 'recording was', 'recordings were')} never replayed",
        }
        return [Failure(f"--fail-on-{what}", str(why[what])) for what in self.fail_on if why[what]]

    def _missed(self) -> str:
        """A cassette that is missing or unreadable keeps requests from becoming exchanges."""
        unanswered = sum(
            count for (status, _), count in self.tally.refusals.items() if status == "500"
        )
        missed = self.counters.misses + unanswered
        return f"{times(missed, 'request', 'requests')} found no recording" if missed else ""

    @property
    def exit_code(self) -> int:
        """The command's, or 1 for a failure that the command is unaware of."""
        return self.ended.code or (1 if self.failures else 0)


def _origin(request: str) -> tuple[str, int]:
    """Host and port of a request as the log spells it: method and URL."""
    parts = urlsplit(request.partition(" ")[2])
    try:
        port = parts.port
    except ValueError:
        port = None
    return parts.hostname or "", port or (80 if parts.scheme in ("http", "ws") else 443)


def summary(outcome: Outcome, paint: Paint) -> str:
    """A line of counts, then details of each."""
    lines = [f"{paint('1', 'buffr:')} {_counts(outcome, paint)}"]
    lines += _saved(outcome.tally, paint)
    lines += _listed("31", "miss", _rows(outcome.misses), _MOST, paint)
    lines += _listed("31", "failed", _rows(outcome.failed), _MOST, paint)
    lines += _listed("31", "refused", _refusals(outcome), _MOST, paint)
    no_tls = [f"{host}\n{why}" for host, why in outcome.tally.no_tls.items()]
    lines += _listed("31", "no TLS", no_tls, _MOST, paint)
    if "record" in outcome.fail_on:
        lines += _listed("33", "recorded", list(outcome.tally.recordings), _MOST, paint)
    lines += _listed("33", "drifted", _drifts(outcome), _MOST, paint)
    left = [f"{one.cassette}: {one.request}" for one in outcome.unused]
    lines += _listed("33", "unused", left, _MOST_UNUSED, paint)
    bypassed = [_counted(host, count) for host, count in outcome.bypassed.items()]
    lines += _listed("36", "bypassed", bypassed, _MOST, paint)
    lines += _listed("31", "escape", _escapes(outcome), _MOST, paint)
    lines += _listed("36", "nested", _nested(outcome), _MOST, paint)
    lines += _listed("36", "asked", list(map(_asked, outcome.hosts)), _MOST, paint)
    for failure in outcome.failures:
        # A command that failed has the say.
        code = "" if outcome.ended.code else "; exit code 1"
        lines.append(f"{paint('1;31', 'buffr:')} {failure.flag}: {failure.why}{code}")
    return "".join(f"{line}\n" for line in lines)


def _saved(tally: Tally, paint: Paint) -> list[str]:
    """What the hits have spared; nothing where there is nothing to tell."""
    words = saved_words(tally.saved) if tally.saved else ""
    if not words:
        return []
    dated = f" (prices of {tally.prices_of})" if tally.saved["usd"] is not None else ""
    return [f"{paint('1', 'buffr:')} {paint('32', 'saved')} {words}{dated}"]


def _counts(outcome: Outcome, paint: Paint) -> str:
    counters = outcome.counters
    tally = outcome.tally
    escapes = sum(outcome.escapes.values())
    if not (tally.rows or tally.refusals or tally.no_tls or escapes):
        return _nothing(outcome)
    parts = [
        ("32", times(counters.hits, "hit", "hits"), True),
        ("36", f"{counters.recorded} recorded", True),
        ("31" if counters.misses else "", times(counters.misses, "miss", "misses"), True),
        ("31", f"{counters.errors} failed", counters.errors),
        ("31", f"{outcome.refused} refused", outcome.refused),
        ("31", times(len(tally.no_tls), "host", "hosts") + " without TLS", tally.no_tls),
        ("31", f"{counters.failed_appends} not recorded", counters.failed_appends),
        ("33", f"{len(tally.drift)} drifted", tally.drift),
        ("33", f"{len(outcome.unused)} unused", outcome.unused),
        ("36", times(len(outcome.bypassed), "host", "hosts") + " bypassed", outcome.bypassed),
        ("31", times(escapes, "escape", "escapes") + " refused", escapes),
    ]
    return ", ".join(paint(code, text) if code else text for code, text, shown in parts if shown)


def _nothing(outcome: Outcome) -> str:
    connections = outcome.tally.connections
    if outcome.ledger is not None and not connections:
        return "the command connected to nothing"
    if connections:
        came = times(connections, "connection", "connections")
        return f"{came} came to the proxy, and no request; the command may not speak HTTP"
    return "nothing came through the proxy; the command may not use HTTPS_PROXY"


def _rows(rows: Sequence[ExchangeCount]) -> list[str]:
    return [f"{_counted(row.request, row.count)}\n{row.detail}" for row in rows]


def _refusals(outcome: Outcome) -> list[str]:
    found = outcome.tally.refusals.items()
    return [_counted(f"{status} {why}", count) for (status, why), count in found]


def _drifts(outcome: Outcome) -> list[str]:
    return [
        "\n".join([f"{request} ({verdict.word})", *map(str, verdict.findings)])
        for request, verdict in outcome.tally.drift.items()
    ]


def _escapes(outcome: Outcome) -> list[str]:
    return [
        _counted(f"{one.program}: {one.where} by {one.protocol}", count)
        + f"\n{one.why}"
        + (f"; {one.flag} lets it pass" if one.flag else "")
        for one, count in outcome.escapes.items()
    ]


def _nested(outcome: Outcome) -> list[str]:
    return [
        _counted(f"{program}: a network namespace of its own, where there is no network", count)
        for program, count in outcome.nested.items()
    ]


def _asked(one: AskedHost) -> str:
    """A host, the programs that asked it, and what became of their requests."""
    asked = one.asked
    programs = ", ".join(sorted(asked.programs))
    counts = [f"{count} {_SOURCES.get(src, src)}" for src, count in one.by_source.items()]
    if asked.relayed:
        counts.append(f"{times(asked.relayed, 'connection', 'connections')} relayed")
    where = host_and_port(asked.host, asked.port)
    return f"{where} by {programs}: {', '.join(counts) or 'no request'}"


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

"""What ``check`` and ``refresh`` share: their flags, and the walk through cassettes."""

from __future__ import annotations

import argparse
import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from attrs import frozen

from buffr.commands.cassette.arguments import numbers
from buffr.commands.cassette.ls import row_at
from buffr.commands.cassette.rm import fits
from buffr.commands.parser import Parser
from buffr.errors import CassetteError

if TYPE_CHECKING:
    from buffr.config import Config
    from buffr.drift.verdict import Verdict
    from buffr.refreshing.asking import Live
    from buffr.refreshing.walk import Step
    from buffr.stores.cassette.snapshot import Snapshot
    from buffr.wiring.live_api import Wanted

__all__ = ["DEFAULT_FILE", "Chosen", "chosen_from", "declare_asking", "run_walks", "wanted_of"]

_NUMBERS = re.compile(r"[0-9]{1,12}(?:-(?:[0-9]{1,12})?)?")

DEFAULT_FILE = "buffr.yaml"
_RATE = re.compile(r"([1-9][0-9]{0,5})(?:/(s|m|min|h))?")
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600}
_COUNT = re.compile(r"[1-9][0-9]{0,5}")
_VARIABLE = re.compile(r"([a-z0-9]+(?:-[a-z0-9]+)*)=([A-Za-z_][A-Za-z0-9_]*)?")


@frozen
class Rate:
    """No more than ``count`` requests in any ``length_s`` seconds."""

    count: int
    length_s: int


def _rate(text: str) -> Rate:
    found = _RATE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} must be a rate like 2/s, 100/min or 1000/h")
    return Rate(int(found[1]), _UNITS[found[2] or "s"])


def _count(text: str) -> int:
    if _COUNT.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 1")
    return int(text)


def _credential(text: str) -> tuple[str, str]:
    found = _VARIABLE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError("it must be NAME=VARIABLE, the name as in the stand-in")
    return found[1], found[2] or ""


def _seconds(text: str) -> int:
    return _count(text.removesuffix("s"))


def declare_asking(parser: Parser) -> None:
    """Add the flags that say what is asked, and how."""
    parser.flag(
        "--against",
        metavar="URL",
        help="the API to ask, instead of the host that the recording names",
    )
    parser.flag(
        "--only",
        metavar="FILTER",
        help="ask only about interactions whose path or URL matches: '/v1/*', 'GET /v1/*', 3, 5-9",
    )
    parser.flag(
        "--sample", metavar="N", type=_count, help="ask about only N of them, evenly spread"
    )
    parser.flag(
        "--rate", metavar="RATE", type=_rate, help="no more requests than this: 2/s, 100/min"
    )
    parser.flag(
        "--parallel",
        metavar="N",
        type=_count,
        default=4,
        help="how many safe requests may be under way at once [4]",
    )
    parser.flag(
        "--unsafe",
        action="store_true",
        help="also send requests that may change something: POST, DELETE, WebSocket ...",
    )
    parser.flag(
        "--once",
        action="store_true",
        help="ask only once: learn no noise",
    )
    parser.flag(
        "--twice",
        action="store_true",
        help="learn noise by asking twice, requests that may change something too",
    )
    parser.flag(
        "--credential",
        metavar="NAME=VARIABLE",
        type=_credential,
        action="append",
        default=[],
        help="a variable with the credential for the stand-in with this name",
    )
    parser.flag(
        "--max-wait",
        metavar="SECONDS",
        type=_seconds,
        default=300,
        help="the longest pause that the API may ask for [300]",
    )
    parser.flag(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=60,
        help="the longest time for one answer [60]",
    )
    parser.flag("-c", "--config", metavar="FILE", help="settings file (YAML) [buffr.yaml]")


def config_of(given: argparse.Namespace, environ: Mapping[str, str]) -> Config:
    """The settings of ``--config``, or of ``buffr.yaml``; without the variables of one service.

    Raises ``ConfigError``.
    """
    from buffr.config import load  # noqa: PLC0415  # help does without

    path = given.config or (DEFAULT_FILE if Path(DEFAULT_FILE).exists() else None)
    others = {name: value for name, value in environ.items() if not name.startswith("BUFFR_")}
    return load(None if path is None else Path(path), others, {}, serves=False)


def wanted_of(given: argparse.Namespace, *, records: bool) -> Wanted:
    """What the arguments ask for."""
    from buffr.origin import Origin  # noqa: PLC0415  # help does without
    from buffr.policy.rate_limits import Window  # noqa: PLC0415
    from buffr.wiring.live_api import Wanted  # noqa: PLC0415

    against = None
    if given.against is not None:
        try:
            against = Origin.parse(given.against)
        except ValueError as error:
            given.parser.error(f"--against: {given.against!r} {error}")
    rate = given.rate
    return Wanted(
        against=against,
        windows=() if rate is None else (Window(rate.count, rate.length_s, "rate"),),
        parallel=given.parallel,
        unsafe=given.unsafe,
        twice="never" if given.once else "always" if given.twice else "safe",
        credentials=dict(given.credential),
        max_wait_s=given.max_wait,
        timeout_s=given.timeout,
        records=records,
    )


@frozen(eq=False)
class Chosen:
    """The interactions of a cassette to ask about.

    ``words`` are those of all their requests, ``unsafe`` the requests that may
    change something. ``salt`` is that of stand-ins for new secrets.
    """

    snapshot: Snapshot
    steps: Sequence[Step]
    words: frozenset[bytes]
    unsafe: Sequence[str]
    edited: frozenset[int]
    salt: str


def chosen_from(given: argparse.Namespace, snapshot: Snapshot) -> Chosen:
    """Those that ``--only`` and ``--sample`` leave.

    Raises ``CassetteError`` if they are of several hosts although ``--against``
    names one.
    """
    from buffr.drift.carrying import asked_words  # noqa: PLC0415  # help does without
    from buffr.redaction.for_log import request_for_log  # noqa: PLC0415
    from buffr.redaction.rules import RedactionRules  # noqa: PLC0415
    from buffr.refreshing.asking import is_safe  # noqa: PLC0415
    from buffr.refreshing.walk import Step  # noqa: PLC0415

    rules = RedactionRules()
    steps: list[Step] = []
    words: set[bytes] = set()
    hosts: set[str | None] = set()
    unsafe: list[str] = []
    fits = _filter(given, snapshot)
    for number in _spread(given.sample, [one for one in range(len(snapshot)) if fits(one)]):
        try:
            recorded = snapshot.interaction(number)
        except CassetteError:
            steps.append(Step(number, "unreadable", partial(snapshot.interaction, number)))
            continue
        request = recorded.request
        title = request_for_log(request, rules)
        load = partial(snapshot.interaction, number)
        steps.append(Step(number, title, load, snapshot.is_edited(number)))
        words |= asked_words(recorded)
        hosts.add(request.host)
        if not is_safe(request):
            unsafe.append(f"{number}  {title}")
    if given.against is not None and len(hosts) > 1:
        names = ", ".join(sorted(str(host) for host in hosts if host is not None))
        raise CassetteError(
            f"{snapshot.path}: it has recordings of several hosts ({names})",
            hint="say with --only which of them --against stands for",
        )
    edited = frozenset(step.number for step in steps if step.edited)
    salt = snapshot.layout.salt or token_hex(16)
    return Chosen(snapshot, steps, frozenset(words), unsafe, edited, salt)


def _filter(given: argparse.Namespace, snapshot: Snapshot) -> Callable[[int], bool]:
    text = given.only
    if text is None:
        return lambda number: snapshot.kind(number) in ("http", "websocket")
    if _NUMBERS.fullmatch(text):
        named = frozenset(numbers([text], snapshot, given.parser.error))
        return lambda number: number in named
    return lambda number: _fits(snapshot, number, text)


def _fits(snapshot: Snapshot, number: int, pattern: str) -> bool:
    row = row_at(snapshot, number)
    method, space, rest = pattern.partition(" ")
    if space:
        return row.method == method.upper() and fits(row, rest)
    return fits(row, pattern)


def _spread(most: int | None, found: list[int]) -> list[int]:
    """So many of the numbers, evenly spread, in their order."""
    if most is None or most >= len(found):
        return found
    return [found[at * len(found) // most] for at in range(most)]


def run_walks(
    given: argparse.Namespace,
    chosen: Sequence[Chosen],
    tell: Callable[[Chosen, Verdict], None],
    on_live: Callable[[Chosen, Live], None] | None = None,
) -> None:
    """Walk through the cassettes one after the other; ``tell`` gets each verdict in order.

    Raises a ``BuffrError`` for settings that cannot be used.
    """
    from twisted.internet.task import react  # noqa: PLC0415  # help does without Twisted

    from buffr.wiring.live_api import LiveAPI  # noqa: PLC0415

    config = config_of(given, os.environ)
    wanted = wanted_of(given, records=on_live is not None)
    failures: list[Exception] = []

    async def walk(reactor: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)  # nothing is written yet
        api = LiveAPI(config, reactor, wanted, os.environ)
        try:
            for one in chosen:
                listener = None if on_live is None else partial(on_live, one)
                salt = one.salt.encode()
                path = one.snapshot.path
                async for verdict in api.walk(
                    path, salt, one.steps, one.words, listener
                ).verdicts():
                    tell(one, verdict)
        except Exception as error:  # noqa: BLE001  # raised below: not for the reactor to print
            failures.append(error)
        finally:
            api.close()

    before = signal.getsignal(signal.SIGINT)
    with suppress(SystemExit):
        react(walk)
    signal.signal(signal.SIGINT, before)
    if failures:
        raise failures[0]

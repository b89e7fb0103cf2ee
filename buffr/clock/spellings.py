"""How instants are spelled: each is moved within its own precision, zone and punctuation.

An instant is a whole number of seconds since 1970; a fraction keeps its digits.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

__all__ = ["DATE", "NUMBER", "Move", "moved_date", "moved_number", "moved_value"]

Move = Callable[[int, int], int]
"""From the instant in a recording to that in its replay, or back.

The second argument is the unit of the spelling in seconds: the result is a
whole number of units away.
"""

_SECOND, _MINUTE, _DAY = 1, 60, 86400

_FIRST, _LAST = 366 * 86400, 4102444800
"""Instants outside, before 1971 and after 2099, stand for "never" or "always"."""

_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_LONG_DAYS = (b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday", b"Sunday")
_MONTHS = (
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"
)  # fmt: skip
_MONTH_OF = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}

# RFC 9110 5.6.7 with the forms that it calls obsolete, RFC 6265's cookie dates, RFC 5322's zones.
_NAMED = re.compile(
    rb"(?P<day_name>[A-Za-z]{3,9})(?P<comma>,? {1,3})"
    rb"(?P<day>[0-9]{1,2})(?P<s1>[ -])(?P<month>[A-Za-z]{3})(?P<s2>[ -])"
    rb"(?P<year>[0-9]{4}|[0-9]{2}) (?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
    rb"(?P<zone> (?:GMT|UTC|Z|[+-][0-9]{4}))?"
)
_ASCTIME = re.compile(
    rb"(?P<day_name>[A-Z][a-z]{2}) (?P<month>[A-Z][a-z]{2}) (?P<day>[ 0-9][0-9]) "
    rb"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2}) (?P<year>[0-9]{4})"
)
# RFC 3339 and what else ISO 8601 has in use; a colon may be percent-encoded in a URL.
_ISO = re.compile(
    rb"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
    rb"(?:(?P<t>[Tt ]|%20|\+)(?P<hour>[0-9]{2})(?P<c1>:|%3[Aa])(?P<minute>[0-9]{2})"
    rb"(?:(?P<c2>:|%3[Aa])(?P<second>[0-9]{2})(?P<fraction>[.,][0-9]{1,12})?)?"
    rb"(?P<zone> ?(?:[Zz]|UTC|"
    rb"(?P<sign>[+-]|%2[Bb])(?P<zh>[0-9]{2})(?::|%3[Aa])?(?P<zm>[0-9]{2})?))?)?"
)
_BASIC = re.compile(
    rb"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})"
    rb"T(?P<hour>[0-9]{2})(?P<minute>[0-9]{2})(?P<second>[0-9]{2})(?P<zone>Z)"
)
NUMBER = re.compile(rb"(?P<whole>[12][0-9]{9}(?:[0-9]{3}){0,3})(?P<fraction>\.[0-9]{1,9})?")
"""Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their digits."""

DATE = b"|".join(
    re.sub(rb"\(\?P<\w+>", b"(?:", pattern.pattern) for pattern in (_NAMED, _ASCTIME, _BASIC, _ISO)
)
"""A pattern for any date."""


def moved_value(text: bytes, move: Move) -> bytes | None:
    """A text that is one date or number, moved; ``None`` if it is neither or stays as it is."""
    if text.isdigit() or NUMBER.fullmatch(text):
        return moved_number(text, move)
    return moved_date(text, move)


def moved_number(text: bytes, move: Move) -> bytes | None:
    """A number of seconds, or of a smaller unit, since 1970, moved."""
    found = NUMBER.fullmatch(text)
    if found is None:
        return None
    whole = found["whole"]
    moved = _moved(int(whole[:10]), move)
    if moved is None or len(seconds := b"%d" % moved) != 10:
        return None
    return seconds + whole[10:] + (found["fraction"] or b"")


def moved_date(text: bytes, move: Move) -> bytes | None:
    """A date in words or digits, moved. A date without a time moves by whole days."""
    for pattern, spelled in _SPELLED:
        found = pattern.fullmatch(text)
        if found is not None:
            try:
                return spelled(found, move)
            except (ValueError, OverflowError, KeyError):
                return None
    return None


def _moved(instant: int, move: Move, unit: int = _SECOND) -> int | None:
    if not _FIRST <= instant <= _LAST:
        return None
    moved = move(instant, unit)
    return moved if moved != instant and _FIRST <= moved <= _LAST else None


def _instant(found: re.Match[bytes], year: int, month: int, offset: timedelta) -> int:
    """Raises ``ValueError`` for a date that does not exist."""
    clock = [int(found[part] or 0) for part in ("hour", "minute", "second")]
    leap = clock[2] == 60
    when = datetime(year, month, int(found["day"]), clock[0], clock[1], clock[2] - leap, tzinfo=UTC)
    return timegm(when.timetuple()) + leap - int(offset.total_seconds())


def _at(instant: int, offset: timedelta) -> datetime:
    return datetime.fromtimestamp(instant, timezone(offset))


def _named(found: re.Match[bytes], move: Move) -> bytes | None:
    short = len(found["year"]) == 2
    year = int(found["year"])
    if short:
        year += 2000 if year < 70 else 1900
    offset = _mail_zone(found["zone"] or b"")
    moved = _moved(_instant(found, year, _MONTH_OF[found["month"].lower()], offset), move)
    if moved is None:
        return None
    when = _at(moved, offset)
    days = _DAYS if len(found["day_name"]) == 3 else _LONG_DAYS
    return b"".join(
        (
            days[when.weekday()],
            found["comma"],
            b"%0*d" % (len(found["day"]), when.day) if len(found["day"]) > 1 else b"%d" % when.day,
            found["s1"],
            _MONTHS[when.month - 1],
            found["s2"],
            b"%02d" % (when.year % 100) if short else b"%04d" % when.year,
            b" %02d:%02d:%02d" % (when.hour, when.minute, when.second),
            found["zone"] or b"",
        )
    )


def _mail_zone(zone: bytes) -> timedelta:
    zone = zone.strip()
    if zone[:1] not in (b"+", b"-"):
        return timedelta()
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5]))
    return -offset if zone.startswith(b"-") else offset


def _asctime(found: re.Match[bytes], move: Move) -> bytes | None:
    month = _MONTH_OF[found["month"].lower()]
    moved = _moved(_instant(found, int(found["year"]), month, timedelta()), move)
    if moved is None:
        return None
    when = _at(moved, timedelta())
    clock = (when.hour, when.minute, when.second, when.year)
    day = (_DAYS[when.weekday()], _MONTHS[when.month - 1], when.day)
    return b"%b %b %2d %02d:%02d:%02d %04d" % (*day, *clock)


def _iso(found: re.Match[bytes], move: Move) -> bytes | None:
    offset = timedelta()
    if found["sign"]:
        offset = timedelta(hours=int(found["zh"]), minutes=int(found["zm"] or 0))
        offset = -offset if found["sign"] == b"-" else offset
    unit = _SECOND if found["c2"] else _MINUTE if found["t"] else _DAY
    instant = _instant(found, int(found["year"]), int(found["month"]), offset)
    moved = _moved(instant, move, unit)
    if moved is None:
        return None
    when = _at(moved, offset)
    out = b"%04d-%02d-%02d" % (when.year, when.month, when.day)
    if found["t"] is None:
        return out
    out += found["t"] + b"%02d%b%02d" % (when.hour, found["c1"], when.minute)
    if found["c2"]:
        out += found["c2"] + b"%02d" % when.second + (found["fraction"] or b"")
    return out + (found["zone"] or b"")


def _basic(found: re.Match[bytes], move: Move) -> bytes | None:
    moved = _moved(_instant(found, int(found["year"]), int(found["month"]), timedelta()), move)
    if moved is None:
        return None
    return _at(moved, timedelta()).strftime("%Y%m%dT%H%M%SZ").encode()


_SPELLED: tuple[tuple[re.Pattern[bytes], Callable[[re.Match[bytes], Move], bytes | None]], ...] = (
    (_ISO, _iso),
    (_NAMED, _named),
    (_BASIC, _basic),
    (_ASCTIME, _asctime),
)

"""Cache directives of requests and responses (RFC 9111 5.2, RFC 9213)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from attrs import frozen

from buffr.message import Headers

__all__ = [
    "NO_DIRECTIVES",
    "Directives",
    "delta_seconds",
    "directives",
    "http_date",
    "request_directives",
]

_MOST_SECONDS = 2**31
"""What a larger number of seconds counts as (RFC 9111 1.2.2)."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_ITEM = re.compile(rb'(?:[^,"]++|"(?:[^"\\]++|\\.)*+(?:"|\Z))++', re.DOTALL)
_DIRECTIVE = re.compile(
    rb"[ \t]*(" + _TOKEN + rb")(?:=(?:(" + _TOKEN + rb')|"((?:[^"\\]|\\.)*)"))?[ \t]*', re.DOTALL
)
_NAME = re.compile(rb"[ \t]*(" + _TOKEN + rb")")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)

# Structured Fields (RFC 8941 3.2), as far as a targeted field can use them.
_SF_VALUE = (
    rb'(?:-?\d{1,12}\.\d{1,3}|-?\d{1,15}|"(?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"'
    rb"|[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*|:[A-Za-z0-9+/=]*:|\?[01])"
)
_SF_KEY = rb"[a-z*][a-z0-9_.*-]*"
_SF_PARAMETERS = rb"(?:;[ ]*" + _SF_KEY + rb"(?:=" + _SF_VALUE + rb")?)*"
_SF_MEMBER = re.compile(rb"(" + _SF_KEY + rb")(?:=(" + _SF_VALUE + rb"))?" + _SF_PARAMETERS)
_SF_COMMA = re.compile(rb"[ \t]*,[ \t]*")

_IN_SECONDS = frozenset((b"max-age", b"s-maxage", b"stale-while-revalidate", b"stale-if-error"))


@frozen
class Directives:
    """Directives by lower-case name, each with its arguments in order.

    ``None`` stands for no argument, empty bytes for one that is malformed.
    """

    by_name: Mapping[bytes, tuple[bytes | None, ...]]

    def __contains__(self, name: bytes) -> bool:
        return name in self.by_name

    def seconds(self, name: bytes) -> int | None:
        """A number of seconds; ``None`` when the directive is not there.

        The least of several, and 0 for what is no number: then the response
        is stale (RFC 9111 4.2.1).
        """
        values = self.by_name.get(name)
        if values is None:
            return None
        return min(delta_seconds(value or b"") or 0 for value in values)

    def fields(self, name: bytes) -> frozenset[bytes] | None:
        """The lower-case fields that a directive is limited to; ``None`` for no limit.

        Only where each of several is limited are all of them.
        """
        found: set[bytes] = set()
        for value in self.by_name.get(name, ()):
            names = [item.strip().lower() for item in (value or b"").split(b",")]
            if not all(names):
                return None
            found.update(names)
        return frozenset(found)


NO_DIRECTIVES = Directives({})


def delta_seconds(value: bytes) -> int | None:
    """A non-negative number of seconds (RFC 9111 1.2.2); ``None`` for anything else."""
    if not value.isdigit():
        return None
    return _MOST_SECONDS if len(value) > 15 else min(int(value), _MOST_SECONDS)


@lru_cache(maxsize=4096)
def directives(value: bytes) -> Directives:
    """What a ``Cache-Control`` says, its several lines joined by commas."""
    found: dict[bytes, tuple[bytes | None, ...]] = {}
    for item in _ITEM.findall(value):
        matched = _DIRECTIVE.fullmatch(item)
        argument: bytes | None = b""
        if matched is None:
            matched = _NAME.match(item)
            if matched is None:
                continue
        else:
            _, token, quoted = matched.groups()
            argument = token if quoted is None else _ESCAPE.sub(rb"\1", quoted)
        name = matched[1].lower()
        found[name] = (*found.get(name, ()), argument)
    return Directives(found)


@lru_cache(maxsize=1024)
def targeted_directives(value: bytes) -> Directives | None:
    """What a targeted field says (RFC 9213 2.1); ``None`` when it is to be ignored."""
    found: dict[bytes, tuple[bytes | None, ...]] = {}
    position, value = 0, value.strip(b" ")
    while position < len(value):
        matched = _SF_MEMBER.match(value, position)
        if matched is None:
            return None
        name, argument = matched.groups()
        if name in _IN_SECONDS and (argument is None or delta_seconds(argument) is None):
            return None
        if argument == b"?0":
            found.pop(name, None)
        else:
            said = None if argument in (None, b"?1") else argument
            found[name] = (said.strip(b'"') if said else said,)
        position = matched.end()
        if position < len(value):
            comma = _SF_COMMA.match(value, position)
            if comma is None or comma.end() == len(value):
                return None
            position = comma.end()
    return Directives(found) if found else None


def request_directives(headers: Headers) -> Directives:
    """What a request's ``Cache-Control`` says."""
    value = None
    for name, line in headers:
        if len(name) == 13 and name.lower() == b"cache-control":
            value = line if value is None else value + b", " + line
    return NO_DIRECTIVES if value is None else directives(value)


_MONTHS = {
    name: number
    for number, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)
}
_TIME = rb"([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)"
_DAY = rb"(?:mon|tue|wed|thu|fri|sat|sun)"
_LONG_DAY = rb"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_MONTH = b"(" + b"|".join(_MONTHS) + b")"
_IMF = re.compile(_DAY + rb", (\d\d) " + _MONTH + rb" (\d{4}) " + _TIME + rb" gmt")
_RFC_850 = re.compile(_LONG_DAY + rb", (\d\d)-" + _MONTH + rb"-(\d\d) " + _TIME + rb" gmt")
_ASCTIME = re.compile(_DAY + b" " + _MONTH + rb" (\d\d| \d) " + _TIME + rb" (\d{4})")

_LONGEST = 40


@lru_cache(maxsize=4096)
def http_date(value: bytes, year: int) -> float | None:
    """Seconds since the epoch; ``None`` for anything but the three forms, letters in any case.

    ``year`` is the present one: a year of two digits is never more than 50
    years ahead of it.
    """
    if len(value) > _LONGEST:
        return None
    text = value.lower()
    if matched := _IMF.fullmatch(text):
        day, month, full_year, hour, minute, second = matched.groups()
        number = int(full_year)
    elif matched := _RFC_850.fullmatch(text):
        day, month, short_year, hour, minute, second = matched.groups()
        number = year - year % 100 + int(short_year)
        if number > year + 50:
            number -= 100
        elif number <= year - 50:
            number += 100
    elif matched := _ASCTIME.fullmatch(text):
        month, day, hour, minute, second, full_year = matched.groups()
        number = int(full_year)
    else:
        return None
    try:
        whole = datetime(number, _MONTHS[month], int(day), int(hour), int(minute), tzinfo=UTC)
    except ValueError:
        return None
    return whole.timestamp() + int(second)

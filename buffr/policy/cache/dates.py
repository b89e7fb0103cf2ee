"""HTTP dates (RFC 9110 5.6.7)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

__all__ = ["http_date"]

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

"""What a recorded answer needs so that the client of today can use it."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

from attrs import evolve

from buffr.formats.codings import coding_names
from buffr.interaction import HTTPInteraction
from buffr.message import Headers

__all__ = ["retry_after_s", "unaccepted_codings", "with_retry_after"]

_MILLISECONDS = frozenset((b"retry-after-ms", b"x-ms-retry-after-ms"))
_SECONDS = re.compile(rb"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_QUALITY = re.compile(rb"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)


def unaccepted_codings(interaction: HTTPInteraction, live: Headers) -> list[bytes]:
    """The content codings of an answer that the live client does not accept.

    A client that says the same as the recorded one gets the same. Otherwise
    what it does not list, it does not accept, even if it lists nothing: RFC
    9110 12.5.3 lets a server take that for all codings, and no server does.
    """
    codings = _values(interaction.response.headers, b"content-encoding")
    names = coding_names(b",".join(codings))
    if not names or not interaction.body.size_bytes:
        return []
    accepted = _values(live, b"accept-encoding")
    if accepted == _values(interaction.request.headers, b"accept-encoding"):
        return []
    qualities = _qualities(b",".join(accepted))
    others = qualities.get(b"*", 0.0)
    return [name for name in names if not qualities.get(name.removeprefix(b"x-"), others)]


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for key, value in headers if key.lower() == name]


def _qualities(accepted: bytes) -> dict[bytes, float]:
    qualities = {}
    for each in accepted.lower().split(b","):
        name, _, rest = each.partition(b";")
        weight = _QUALITY.fullmatch(rest.strip())
        qualities[name.strip().removeprefix(b"x-")] = float(weight[1]) if weight else 1.0
    return qualities


def retry_after_s(headers: Headers) -> float:
    """How long an answer tells its client to wait, if it does not say until when; otherwise 0."""
    longest = 0.0
    for name, value in headers:
        if name.lower() == b"retry-after" and _SECONDS.fullmatch(value):
            longest = max(longest, float(value))
        elif name.lower() in _MILLISECONDS and _SECONDS.fullmatch(value):
            longest = max(longest, float(value) / 1000)
    return longest


def with_retry_after(interaction: HTTPInteraction, most_s: float) -> HTTPInteraction:
    """The interaction with no wait over ``most_s`` in its answer, whichever way it is said."""
    response = interaction.response
    headers = tuple([(name, _cut(name.lower(), value, most_s)) for name, value in response.headers])
    if headers == response.headers:
        return interaction
    return evolve(interaction, response=evolve(response, headers=headers))


def _cut(name: bytes, value: bytes, most_s: float) -> bytes:
    if name in _MILLISECONDS:
        longer = _SECONDS.fullmatch(value) and float(value) > most_s * 1000
        return b"%d" % (most_s * 1000) if longer else value
    if name != b"retry-after":
        return value
    longer = float(value) > most_s if _SECONDS.fullmatch(value) else _is_date(value)
    return b"%d" % most_s if longer else value


def _is_date(value: bytes) -> bool:
    try:
        parsedate_to_datetime(value.decode("latin-1"))
    except ValueError:
        return False
    return True

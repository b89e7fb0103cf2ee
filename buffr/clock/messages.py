"""Moves the instants in the head of an answer, and those that a client sends back."""

from __future__ import annotations

import re

from attrs import evolve

from buffr.clock.spellings import DATE, NUMBER, moved_date, moved_number, moved_value
from buffr.clock.texts import JWT, TextMover, moved_jwt
from buffr.message import Headers, Request

__all__ = ["moved_back", "moved_fields", "text_moved_back"]

_COOKIE_EXPIRES = re.compile(rb"(;\s*expires\s*=\s*)([^;]+)", re.IGNORECASE)
_ANY = re.compile(
    rb"(?<![0-9A-Za-z])(?:%b|%b)(?![0-9A-Za-z])"
    % (DATE, re.sub(rb"\(\?P<\w+>", b"(?:", NUMBER.pattern))
)


def moved_fields(fields: Headers, mover: TextMover) -> Headers:
    """The fields with their instants moved.

    A value that is a date as a whole always moves: fields say nothing else
    about time (``Date``, ``Expires``, ``Last-Modified``, ``Retry-After``,
    ``Sunset``). A number moves by the field's name (``X-RateLimit-Reset``). In
    other values tokens and signed URLs move, in cookies also ``Expires``.
    """
    return tuple([(name, _value(name, value, mover)) for name, value in fields])


def _value(name: bytes, value: bytes, mover: TextMover) -> bytes:
    if len(value) < 8:
        return value
    if name.lower() == b"set-cookie":
        value = _COOKIE_EXPIRES.sub(lambda found: _cookie_date(found, mover), value)
    elif value[:1] == b"@":  # RFC 9651's dates
        return b"@" + (moved_number(value[1:], mover.move) or value[1:])
    elif value[:1].isdigit():
        moved = moved_value(value, mover.move) if name in mover.names else None
        return moved or moved_date(value, mover.move) or value
    elif (moved := moved_date(value, mover.move)) is not None:
        return moved
    return mover.tokens_and_urls(value)


def _cookie_date(found: re.Match[bytes], mover: TextMover) -> bytes:
    return found[1] + (moved_date(found[2].strip(), mover.move) or found[2])


def moved_back(request: Request, body: bytes, mover: TextMover) -> tuple[Request, bytes] | None:
    """The request and its body with the instants that its client was given as recorded.

    ``mover`` moves these back, whatever their names, and no others. ``None``
    if there are none.
    """
    target = text_moved_back(request.target, mover)
    headers = tuple([(name, text_moved_back(value, mover)) for name, value in request.headers])
    text = text_moved_back(body, mover)
    if target == request.target and headers == request.headers and text == body:
        return None
    return evolve(request, target=target, headers=headers), text


def text_moved_back(text: bytes, mover: TextMover) -> bytes:
    """A text with the instants that its sender was given as recorded."""
    if b"eyJ" in text:
        text = JWT.sub(lambda found: moved_jwt(found, mover), text)
    return _ANY.sub(lambda found: moved_value(found[0], mover.move) or found[0], text)

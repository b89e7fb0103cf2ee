"""Moves the instants in a text: members of JSON and XML, tokens, and signed URLs."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Callable

from attrs import frozen

from buffr.clock.names import SIGNED_URL_FIELDS, TimeNames
from buffr.clock.spellings import Move, moved_value
from buffr.redaction.pseudonym import STAND_IN

__all__ = ["JWT", "MovingStream", "TextMover", "is_text", "moved_jwt"]

_MEMBER = re.compile(
    rb'(?P<start>"(?P<name>[^"\\\x00-\x1f]{1,64})"[ \t]{0,8}:[ \t]{0,8})'
    rb'(?:"(?P<text>[^"\\\x00-\x1f]{8,64})"|(?P<number>[12][0-9]{9,18}(?:\.[0-9]{1,9})?)(?=[,\s}\]]|\Z))'
)
_QUOTED_MEMBER = re.compile(
    rb'(?P<start>\\"(?P<name>[^"\\\x00-\x1f]{1,64})\\"[ \t]{0,8}:[ \t]{0,8})'
    rb'(?:\\"(?P<text>[^"\\\x00-\x1f]{8,64})\\"|(?P<number>[12][0-9]{9,18}(?:\.[0-9]{1,9})?)(?=[,\s}\]]))'
)
"""JSON in a JSON string."""

_ELEMENT = re.compile(
    rb"(?P<start><(?:[\w.-]{1,32}:)?(?P<name>[\w.-]{1,64})(?:[ \t][^<>]{0,200})?>)"
    rb"(?P<text>[^<>]{8,64})(?=</)"
)
_URL_FIELD = re.compile(
    rb"(?P<start>(?:[?&;~]|\\u0026)(?P<name>[A-Za-z-]{2,12})=)"
    rb"(?P<text>[0-9A-Za-z:.%+-]{8,40})(?=[&;~\"'\\<>\s#*]|\Z)"
)

# What may go on after the end of a piece: a member, an element, a URL or a token.
_OPEN = re.compile(
    rb'(?:(?<![A-Za-z0-9_.\-}\])\\])\\?"[^"\\]{0,64}'
    rb'(?:\\|\\?"[ \t]*(?::[ \t]*(?:\\?"[^"]*"?|[0-9.]*|\\)?)?)?'
    rb"|<(?!/)[^<>]{0,264}(?:>[^<>]{0,64}(?:<[^<>]{0,64})?)?"
    rb"|(?<![^\s\"<>,{}\[\]])[^\s\"<>,{}\[\]]++)\Z"
)
_MOST_HELD = 16384


JWT = re.compile(
    rb"(?<![A-Za-z0-9_-])(eyJ[A-Za-z0-9_-]{8,})\.(eyJ[A-Za-z0-9_-]{8,})\.([A-Za-z0-9_-]+)"
    rb"(?![A-Za-z0-9_.-])"
)
"""Finds tokens of three parts whose head and claims are JSON objects."""

_SIGNATURE = b"REDACTED-signature"
_LONGEST_CLAIMS = 16384

_IS_TEXT = re.compile(
    rb"text/.*|application/(?:.*\+)?(?:json|xml|ndjson|jsonl|javascript|graphql)"
    rb"|application/(?:x-ndjson|x-jsonlines|json-seq|stream\+json|x-javascript)|"
)


def is_text(media_type: bytes) -> bool:
    """Whether bodies of a media type are texts with members or elements; an unknown one may be."""
    return _IS_TEXT.fullmatch(media_type) is not None


def moved_jwt(found: re.Match[bytes], moved_claims: Callable[[bytes], bytes]) -> bytes:
    """A token (RFC 7519) with the claims that ``moved_claims`` makes of their JSON.

    A signature that would no longer be true is replaced by a stand-in, as
    redaction does. A token without a change is itself.
    """
    head, payload, signature = found[1], found[2], found[3]
    if len(payload) > _LONGEST_CLAIMS:
        return found[0]
    try:
        claims = urlsafe_b64decode(payload + b"=" * (-len(payload) % 4))
    except (Error, ValueError):
        return found[0]
    moved = moved_claims(claims)
    if moved == claims:
        return found[0]
    if not signature.startswith(STAND_IN):
        signature = _SIGNATURE
    return b"%b.%b.%b" % (head, urlsafe_b64encode(moved).rstrip(b"="), signature)


@frozen(eq=False)
class TextMover:
    """Moves what ``names`` say is an instant by ``move``."""

    move: Move
    names: TimeNames

    def __call__(self, text: bytes) -> bytes:
        """The text with its instants moved."""
        text = self.tokens_and_urls(text)
        if b'"' in text:
            text = _MEMBER.sub(self._member, text)
        if b'\\"' in text:
            text = _QUOTED_MEMBER.sub(self._member, text)
        return _ELEMENT.sub(self._member, text) if b"</" in text else text

    def tokens_and_urls(self, text: bytes) -> bytes:
        """The text with only its tokens and signed URLs moved, as in a header field."""
        if b"eyJ" in text:
            text = JWT.sub(lambda found: moved_jwt(found, self), text)
        return _URL_FIELD.sub(self._url_field, text) if b"=" in text else text

    def _member(self, found: re.Match[bytes]) -> bytes:
        value = found["text"] or found["number"]
        if found["name"] not in self.names:
            return found[0]
        moved = moved_value(value, self.move)
        return found[0] if moved is None else _with_value(found, value, moved)

    def _url_field(self, found: re.Match[bytes]) -> bytes:
        if found["name"].decode("ascii").lower() not in SIGNED_URL_FIELDS:
            return found[0]
        moved = moved_value(found["text"], self.move)
        return found[0] if moved is None else found["start"] + moved


def _with_value(found: re.Match[bytes], value: bytes, moved: bytes) -> bytes:
    start, rest = len(found["start"]), found[0][len(found["start"]) :]
    at = rest.index(value)
    return found[0][:start] + rest[:at] + moved + rest[at + len(value) :]


class MovingStream:
    """Moves the instants of a text that comes in pieces, split anywhere.

    ``changed`` says whether anything was moved so far. Only what may be the
    beginning of an instant waits for the next piece, and no more than 16 KiB.
    """

    def __init__(self, mover: TextMover) -> None:
        self.changed = False
        self._mover = mover
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """The next stretch of the result, without an end that may become an instant."""
        data = self._held + data
        cut = _open_from(data)
        data, self._held = data[:cut], data[cut:]
        return self._moved(data)

    def end(self) -> bytes:
        """The rest."""
        held, self._held = self._held, b""
        return self._moved(held)

    def _moved(self, data: bytes) -> bytes:
        out = self._mover(data)
        self.changed = self.changed or out != data
        return out


def _open_from(data: bytes) -> int:
    """Where the last stretch begins that may go on in the next piece."""
    start = max(len(data) - _MOST_HELD, data.rfind(b"\n") + 1)
    found = _OPEN.search(data, start)
    return len(data) if found is None else found.start()

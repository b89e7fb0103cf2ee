"""Carries values of live answers into later requests, where the recorded ones stand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus, unquote, urlsplit

from attrs import define, evolve, field

from buffr.drift.documents import JSON, Messages, document_of
from buffr.drift.stand_ins import StandIn, stand_ins
from buffr.interaction import (
    Body,
    Direction,
    HTTPInteraction,
    Interaction,
    RecordedRequest,
    WebSocketInteraction,
)
from buffr.message import Headers, first_value, media_type, with_length
from buffr.redaction.pseudonym import STAND_IN

__all__ = ["Carried", "answer_words", "asked_words", "speller"]

_SHORTEST = 8
_SHORTEST_NUMBER = 4
_LONGEST = 4096
_MOST = 20_000
_LARGEST_BODY = 1 << 20
_RUN = re.compile(rb"[0-9A-Za-z]{4,}")
_NUMBER = re.compile(r"-?[0-9]{4,}")
_VALIDATORS = (b"etag", b"last-modified")
_FORM = b"application/x-www-form-urlencoded"
_SAFE_IN_TARGET = "-._~!$'()*,;:@"


def asked_words(recorded: Interaction) -> set[bytes]:
    """The runs of four or more letters and digits in what a client sent.

    Values are found in it by these words.
    """
    found: set[bytes] = set()
    for text in _asked(recorded):
        found.update(_RUN.findall(text))
    return found


def answer_words(recorded: Interaction) -> set[bytes]:
    """The words of a recorded answer that may stand in later requests.

    Raises ``CassetteError`` if its body's file cannot be read.
    """
    found: set[bytes] = set()
    for value in _values_of(recorded):
        text = value.encode("utf-8", "surrogatepass")
        found.add(_longest(text))
        found.update(one.digest.encode() for one in stand_ins(text))
    return found - {b"", STAND_IN}


def _values_of(recorded: Interaction) -> Iterator[str]:
    """The values of a recorded answer that are carried."""
    for value in _all_values_of(recorded):
        if len(value) >= _SHORTEST or _NUMBER.fullmatch(value):
            yield value
        if "/" in value:
            for part, _ in _url_pairs(value, value):
                yield part


def _all_values_of(recorded: Interaction) -> Iterator[str]:
    headers = recorded.response.headers
    yield from (value for value, _ in _header_pairs(headers, headers))
    if isinstance(recorded, HTTPInteraction):
        match document_of(recorded.body, headers):
            case JSON(value):
                yield from _values_in([value])
            case Messages() as messages:
                yield from _values_in([one.value for one in messages.all])


def _values_in(documents: list[object]) -> Iterator[str]:
    waiting = documents
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif _is_leaf(value):
            yield str(value)


def _asked(recorded: Interaction) -> Iterator[bytes]:
    """What a client sent: its request, and its messages in a session."""
    yield from _texts(recorded.request)
    if isinstance(recorded, WebSocketInteraction):
        for frame in recorded.frames:
            if frame.direction is Direction.CLIENT and frame.data.file is None:
                yield frame.data.data


def _texts(request: RecordedRequest) -> Iterator[bytes]:
    yield request.target
    for _, value in request.headers:
        yield value
    if request.body.file is None and request.body.size_bytes <= _LARGEST_BODY:
        yield request.body.data


@define(eq=False)
class Carried:
    """Recorded values and the live ones that take their places.

    Of a recorded answer's JSON, ``Location``, validators and cookies: strings
    of 8 or more characters, and numbers of 4 or more digits. ``wanted`` are
    the words of the requests to come: a value without any of them is not kept.
    Of several live values for one recorded value the latest counts.
    """

    wanted: frozenset[bytes]
    _live: dict[str, str] = field(init=False, factory=dict)
    _source: dict[str | bytes, int] = field(init=False, factory=dict)
    _learning: int = field(init=False, default=-1)
    _givers: set[int] = field(init=False, factory=set)
    _same: set[str] = field(init=False, factory=set)
    _digests: dict[bytes, bytes] = field(init=False, factory=dict)
    _by_word: dict[bytes, list[str]] = field(init=False, factory=dict)
    _by_digest: dict[str, bytes] = field(init=False, factory=dict)
    _by_text: dict[bytes, bytes] = field(init=False, factory=dict)
    _lost: dict[bytes, dict[str, int]] = field(init=False, factory=dict)

    def learn(self, number: int, recorded: Interaction, live: Interaction) -> None:
        """Take the values of an answer; ``live`` is as it came, with its secrets.

        Raises ``CassetteError`` if a body's file cannot be read.
        """
        self._learning = number
        for old, new in _pairs(recorded, live):
            self._take(old, new)

    def learn_values(self, recorded: object, live: object) -> None:
        """Take the values at the same places of two JSON documents."""
        for old, new in _leaves(recorded, live):
            self._take(old, new)

    def learn_stand_ins(self, recorded: Interaction, stored: Interaction) -> None:
        """Take the stand-ins for the secrets of an answer, as it is stored now."""
        for old, new in _pairs(recorded, stored):
            if old != new:
                before, after = (
                    stand_ins(one.encode("utf-8", "surrogatepass")) for one in (old, new)
                )
                for one, other in zip(before, after, strict=False):
                    if one.digest and other.digest:
                        self._digests[one.digest.encode()] = other.digest.encode()

    def _take(self, old: str, new: str) -> None:
        if not (old and new) or max(len(old), len(new)) > _LONGEST:
            return
        counts = len(old) >= _SHORTEST or _NUMBER.fullmatch(old) is not None
        if old == new:
            if counts and _longest(old.encode("utf-8", "surrogatepass")) in self.wanted:
                self._same.add(old)
            return
        secret = _secret(old, new)
        if secret is not None:
            one, value = secret
            self._by_text[one.text] = value
            self._source[one.text] = self._learning
            self._givers.add(self._learning)
            if one.digest:
                self._by_digest[one.digest] = value
                self._source[one.digest] = self._learning
        if "/" in old and "/" in new:
            for part, other in _url_pairs(old, new):
                self._keep(part, other)
        if counts:
            self._keep(old, new)

    def _keep(self, old: str, new: str) -> None:
        if old == new or stand_ins(old.encode("utf-8", "surrogatepass")):
            return
        if old not in self._live:
            words = {_longest(spelled) for spelled, _ in _spellings(old, new, b"")}
            words.add(_longest(quote(old, safe="").encode()))
            words &= self.wanted
            if not words or len(self._live) >= _MOST:
                return
            for word in words:
                self._by_word.setdefault(word, []).append(old)
        self._live[old] = new
        self._source[old] = self._learning
        self._givers.add(self._learning)

    def lose(self, number: int, recorded: Interaction) -> None:
        """Note that an answer's values have no live ones: its request was not asked, or refused.

        What the request itself contained is the client's own. Raises
        ``CassetteError`` if a body's file cannot be read.
        """
        own = b"\n".join(_asked(recorded))
        for value in _values_of(recorded):
            spelled = value.encode("utf-8", "surrogatepass")
            word = _longest(spelled)
            known = value in self._live or value in self._same
            if word in self.wanted and not known and spelled not in own:
                self._lost.setdefault(word, {}).setdefault(value, number)

    def lost_in(self, recorded: Interaction) -> int | None:
        """The interaction without whose live answer another one cannot be asked."""
        if not self._lost:
            return None
        for word in asked_words(recorded) & self._lost.keys():
            for value, number in self._lost[word].items():
                known = value in self._live or value in self._same
                if not known and _stands_in(value, recorded):
                    return number
        return None

    def gave(self, number: int) -> bool:
        """Whether an answer had values that may stand in later requests."""
        return number in self._givers

    def sources(self, recorded: Interaction) -> frozenset[int]:
        """The interactions whose live answers have values for what a client sent."""
        found = {
            self._source[value]
            for word in asked_words(recorded) & self._by_word.keys()
            for value in self._by_word[word]
            if _stands_in(value, recorded)
        }
        for text in _asked(recorded):
            for one in stand_ins(text):
                source = self._source.get(one.digest) if one.digest else None
                source = self._source.get(one.text) if source is None else source
                found |= set() if source is None else {source}
        return frozenset(found)

    def is_known(self, old: str, new: str) -> bool:
        """Whether the live value takes the recorded one's place."""
        return self._live.get(old) == new

    def secret(self, one: StandIn) -> bytes | None:
        """The live value of a secret that an earlier answer gave, by its stand-in."""
        found = self._by_digest.get(one.digest) if one.digest else None
        return self._by_text.get(one.text) if found is None else found

    def request(self, request: RecordedRequest) -> RecordedRequest:
        """The request with live values; the same object if none of them stands in it."""
        if not self._live:
            return request
        target = self.in_text(request.target, b"target")
        kind = media_type(request.headers)
        headers = tuple([(name, self.in_text(value, b"")) for name, value in request.headers])
        body = request.body
        is_coded = first_value(request.headers, b"content-encoding") is not None
        if body.file is None and 0 < body.size_bytes <= _LARGEST_BODY and not is_coded:
            data = self.in_text(body.data, kind)
            if data != body.data:
                body = Body.of(data)
                headers = with_length(headers, body.size_bytes)
        if (target, headers, body) == (request.target, request.headers, request.body):
            return request
        return evolve(request, target=target, headers=headers, body=body)

    def stored(self, request: RecordedRequest) -> RecordedRequest:
        """A request with the stand-ins of earlier answers as they are stored now."""
        if not self._digests:
            return request
        body = request.body
        data = self._restored(body.data)
        return evolve(
            request,
            target=self._restored(request.target),
            headers=tuple([(name, self._restored(value)) for name, value in request.headers]),
            body=body if data == body.data else Body.of(data),
        )

    def _restored(self, text: bytes) -> bytes:
        for one in stand_ins(text):
            digest = self._digests.get(one.digest.encode())
            if digest is not None:
                text = text.replace(one.text, one.text[: -len(digest)] + digest)
        return text

    def in_text(self, text: bytes, kind: bytes) -> bytes:
        """A text with live values: a request target, or text of this media type."""
        if not self._live:
            return text
        instead: dict[bytes, bytes] = {}
        for word in set(_RUN.findall(text)) & self._by_word.keys():
            for old in self._by_word[word]:
                instead.update(_spellings(old, self._live[old], kind))
        there = sorted((one for one in instead if one in text), key=len, reverse=True)
        if not there:
            return text
        pattern = rb"(?<![0-9A-Za-z])(?:%b)(?![0-9A-Za-z])" % b"|".join(map(re.escape, there))
        return re.sub(pattern, lambda found: instead[found[0]], text)


def _stands_in(value: str, recorded: Interaction) -> bool:
    """Whether a value stands verbatim in what a client sent, and not within a longer word."""
    spelled = re.escape(value.encode("utf-8", "surrogatepass"))
    found = re.compile(rb"(?<![0-9A-Za-z])%b(?![0-9A-Za-z])" % spelled)
    return any(map(found.search, _asked(recorded)))


def _pairs(recorded: Interaction, live: Interaction) -> Iterator[tuple[str, str]]:
    """The values at the same places of two answers."""
    yield from _header_pairs(recorded.response.headers, live.response.headers)
    if isinstance(recorded, HTTPInteraction) and isinstance(live, HTTPInteraction):
        before = document_of(recorded.body, recorded.response.headers)
        after = document_of(live.body, live.response.headers)
        match before, after:
            case JSON(was), JSON(is_now):
                yield from _leaves(was, is_now)
            case Messages(), Messages():
                for one, other in zip(before.all, after.all, strict=False):
                    yield from _leaves(one.value, other.value)


def _longest(text: bytes) -> bytes:
    return max(_RUN.findall(text), key=len, default=b"")


def _spellings(old: str, new: str, kind: bytes) -> list[tuple[bytes, bytes]]:
    """Both values as a target, a form, JSON or any other text spells them."""
    plain = old.encode("utf-8", "surrogatepass"), new.encode("utf-8", "surrogatepass")
    if kind == b"target":
        return [
            (plain[0], quote(plain[1], safe=_SAFE_IN_TARGET + _structure_of(old)).encode()),
            (quote(plain[0], safe="").encode(), quote(plain[1], safe="").encode()),
        ]
    if kind == _FORM:
        return [(quote_plus(one).encode(), quote_plus(plain[1]).encode()) for one in plain[:1]]
    if kind.endswith(b"json"):
        return [
            (_escaped(old, ascii_only), _escaped(new, ascii_only)) for ascii_only in (True, False)
        ]
    return [plain]


def _structure_of(value: str) -> str:
    """What a value that is a part of a URL has of its structure."""
    return "".join([sign for sign in "/?&=" if sign in value])


def _escaped(text: str, ascii_only: bool) -> bytes:  # noqa: FBT001  # the two ways of JSON
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode("utf-8", "surrogatepass")


def _leaves(old: object, new: object) -> Iterator[tuple[str, str]]:
    """Texts and numbers at the same places of two documents."""
    waiting = [(old, new)]
    while waiting:
        one, other = waiting.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            waiting += [(one[name], other[name]) for name in reversed(one) if name in other]
        elif isinstance(one, list) and isinstance(other, list):
            waiting += reversed(list(zip(one, other, strict=False)))
        elif _is_leaf(one) and type(one) is type(other):
            yield str(one), str(other)


def _is_leaf(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _header_pairs(old: Headers, new: Headers) -> Iterator[tuple[str, str]]:
    for name in (b"location", *_VALIDATORS):
        one, other = first_value(old, name), first_value(new, name)
        if one is not None and other is not None:
            yield one.decode("latin-1"), other.decode("latin-1")
    cookies = dict(_cookies(new))
    for cookie, value in _cookies(old):
        if cookie in cookies:
            yield value, cookies[cookie]


def _cookies(headers: Headers) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        if name.lower() == b"set-cookie":
            key, equals, rest = value.partition(b";")[0].partition(b"=")
            if equals:
                yield key.strip().decode("latin-1"), rest.strip().decode("latin-1")


def _url_pairs(old: str, new: str) -> Iterator[tuple[str, str]]:
    """The segments of two paths, and the values of two queries, at the same places."""
    try:
        before, after = urlsplit(old), urlsplit(new)
    except ValueError:
        return
    segments = before.path.split("/"), after.path.split("/")
    if len(segments[0]) == len(segments[1]):
        for one, other in zip(*segments, strict=True):
            yield from _long_enough(one, other)
    fields = before.query.split("&"), after.query.split("&")
    for one, other in zip(*fields, strict=False):
        name, _, value = one.partition("=")
        if other.startswith(f"{name}="):
            yield from _long_enough(value, other.partition("=")[2])


def _long_enough(old: str, new: str) -> Iterator[tuple[str, str]]:
    one, other = unquote(old), unquote(new)
    if other and (len(one) >= _SHORTEST or _NUMBER.fullmatch(one)):
        yield one, other


def _secret(old: str, new: str) -> tuple[StandIn, bytes] | None:
    """The only stand-in in a recorded value, and what the live one has in its place."""
    text, live = old.encode("utf-8", "surrogatepass"), new.encode("utf-8", "surrogatepass")
    found = stand_ins(text)
    if len(found) != 1:
        return None
    before, _, after = text.partition(found[0].text)
    value = live[len(before) : len(live) - len(after)]
    return (found[0], value) if value and live == before + value + after else None


Spell = Callable[[bytes], bytes]
"""Writes a value as a part of a request needs it."""


def speller(kind: bytes) -> Spell:
    """How a value is written in a target, or in text of this media type."""
    if kind in (b"target", _FORM):
        return lambda value: quote(value, safe="-._~").encode()
    if kind.endswith(b"json"):
        return lambda value: _escaped(value.decode("utf-8", "surrogateescape"), False)
    return bytes

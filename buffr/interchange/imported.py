"""An interaction out of another tool's file, and what got lost on the way."""

from __future__ import annotations

import json
from base64 import b64decode
from binascii import Error
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

import msgspec
from attrs import evolve, field, frozen

from buffr.errors import BuffrError
from buffr.formats.codings import are_known, are_plain, decoded
from buffr.interaction import (
    Body,
    Chunk,
    Frame,
    HTTPInteraction,
    Interaction,
    RecordedRequest,
    SessionEnd,
    WebSocketInteraction,
)
from buffr.message import Headers, ResponseHead, end_to_end, first_value, with_length
from buffr.stores.cassette.fields import sendable_target
from buffr.stores.cassette.reason_phrases import reason_phrase

__all__ = [
    "Answer",
    "Asked",
    "Imported",
    "NotImported",
    "body_of_base64",
    "charset_of",
    "each_imported",
    "exchange",
    "fields",
    "fields_by_name",
    "form_of",
    "json_bytes",
    "session",
    "text_bytes",
    "utc",
]

T = TypeVar("T")

_DECODED_BYTES = 256 << 20
_REPLACED = "\N{REPLACEMENT CHARACTER}".encode()
_WEB_SOCKET_ONLY = frozenset((b"sec-websocket-key", b"sec-websocket-accept"))
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SCHEMES = {"ws": "http", "wss": "https"}


class NotImported(BuffrError):
    """One element of a source that cannot be an interaction; the others can."""


@frozen(eq=False)
class Imported:
    """An interaction, and the losses that are its own, in words."""

    interaction: Interaction
    losses: tuple[str, ...] = ()


@frozen
class Asked:
    """A request from a source. ``url`` is absolute, or a target if no host is known.

    ``body`` is ``None`` where the source has none although there was one.
    """

    method: str
    url: str
    headers: Headers = ()
    body: bytes | None = b""


@frozen
class Answer:
    """An answer from a source; ``body`` is coded or plain, whatever its fields say.

    ``delay_ms`` is the time from the head to the end of the body.
    """

    status: int
    headers: Headers = ()
    body: bytes = b""
    reason: str | None = None
    trailers: Headers = ()
    delay_ms: int = 0
    truncated: str | None = None


@frozen
class _Losses:
    found: list[str] = field(factory=list)

    def add(self, what: str) -> None:
        if what not in self.found:
            self.found.append(what)


def exchange(
    asked: Asked, answer: Answer, *, recorded_at: str | None = None, losses: Sequence[str] = ()
) -> Imported:
    """An HTTP exchange as buffr would have recorded it. Raises ``NotImported``."""
    noted = _Losses(list(losses))
    request = _request(asked, noted)
    if not 200 <= answer.status <= 999:
        raise NotImported(f"its status is {answer.status}: there was no answer")
    headers, trailers = _without_trailers(answer)
    headers = _true_coding(end_to_end(headers), answer.body, noted)
    headers = _true_length(headers, asked.method, answer, noted)
    if _REPLACED in answer.body:
        noted.add("the body of the answer was no text, and the source has replaced bytes of it")
    chunks = (Chunk(len(answer.body), answer.delay_ms),) if answer.delay_ms else ()
    interaction = HTTPInteraction(
        request=request,
        response=ResponseHead(answer.status, _reason(answer), headers),
        body=Body.of(answer.body),
        chunks=chunks if answer.body else (),
        trailers=end_to_end(trailers),
        truncated=answer.truncated,
        recorded_at=recorded_at,
    )
    return Imported(interaction, tuple(noted.found))


def session(
    asked: Asked,
    answered: Headers,
    frames: Iterable[Frame],
    *,
    end: SessionEnd | None = None,
    recorded_at: str | None = None,
    losses: Sequence[str] = (),
) -> Imported:
    """A WebSocket session as buffr would have recorded it. Raises ``NotImported``."""
    noted = _Losses(list(losses))
    request = _request(evolve(asked, method="GET", body=b""), noted)
    kept = tuple([each for each in end_to_end(answered) if each[0].lower() not in _WEB_SOCKET_ONLY])
    interaction = WebSocketInteraction(
        request=request,
        response=ResponseHead(101, b"Switching Protocols", kept),
        frames=tuple(frames),
        end=end,
        recorded_at=recorded_at,
    )
    return Imported(interaction, tuple(noted.found))


def _request(asked: Asked, noted: _Losses) -> RecordedRequest:
    scheme, host, port, target = _split(asked.url)
    headers = [
        each
        for each in end_to_end(asked.headers)
        if not each[0].startswith(b":") and each[0].lower() not in _WEB_SOCKET_ONLY
    ]
    body = asked.body
    if body is None:
        noted.add("the source does not have the body of the request")
        body = b""
    if _REPLACED in body:
        noted.add("the body of the request was no text, and the source has replaced bytes of it")
    method = asked.method.upper().encode("ascii", "replace")
    if not method.isalpha():
        raise NotImported(f"its method is {asked.method!r}")
    return RecordedRequest(method, target, tuple(headers), Body.of(body), scheme, host, port)


def _split(url: str) -> tuple[str | None, str | None, int | None, bytes]:
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError as error:
        raise NotImported(f"its URL {url!r} cannot be read: {error}") from error
    path, mark, query = url.partition("#")[0].partition("?")
    if host is not None:
        path = "/" + path.split("://", 1)[-1].partition("/")[2]
    elif not path.startswith("/"):
        raise NotImported(f"its URL {url!r} has no host")
    raw_query = query.encode("utf-8", "surrogatepass") if mark else None
    target = sendable_target(path.encode("utf-8", "surrogatepass"), raw_query)
    if host is None:
        return None, None, None, target
    scheme = _SCHEMES.get(parts.scheme, parts.scheme)
    if scheme not in _DEFAULT_PORTS:
        raise NotImported(f"its URL {url!r} is not an http or https one")
    return scheme, host, port or _DEFAULT_PORTS[scheme], target


def _reason(answer: Answer) -> bytes:
    if answer.reason is None:
        return reason_phrase(answer.status)
    text = "".join(c for c in answer.reason if c == "\t" or " " <= c <= "~" or c > "\x9f")
    return text.strip().encode("latin-1", "replace")


def _without_trailers(answer: Answer) -> tuple[Headers, Headers]:
    """Fields that ``Trailer`` announces, and that stand among the headers, are trailers."""
    announced = first_value(answer.headers, b"trailer")
    if announced is None or answer.trailers:
        return answer.headers, answer.trailers
    names = {name.strip().lower() for name in announced.split(b",")}
    headers = tuple([each for each in answer.headers if each[0].lower() not in names])
    return headers, tuple([each for each in answer.headers if each[0].lower() in names])


def _true_coding(headers: Headers, body: bytes, noted: _Losses) -> Headers:
    """Without a ``Content-Encoding`` that the body does not have: many tools store it undone."""
    codings = b",".join([value for name, value in headers if name.lower() == b"content-encoding"])
    if not codings or not body or are_plain(codings) or not are_known(codings):
        return headers
    if decoded(codings, body, limit_bytes=_DECODED_BYTES) is not None:
        return headers
    shown = codings.decode("latin-1")
    noted.add(f"the body was stored decoded: Content-Encoding: {shown} is taken away")
    return tuple([each for each in headers if each[0].lower() != b"content-encoding"])


def _true_length(headers: Headers, method: str, answer: Answer, noted: _Losses) -> Headers:
    length = first_value(headers, b"content-length")
    if length is None or method.upper() == "HEAD" or answer.status in (204, 304):
        return headers
    true = len(answer.body)
    if length == b"%d" % true or answer.truncated:
        return headers
    noted.add("Content-Length is that of the stored body")
    return with_length(headers, true)


def fields(pairs: Iterable[tuple[str, str]]) -> Headers:
    """Header fields out of text, without what cannot be sent."""
    return tuple([(_name(name), _value(value)) for name, value in pairs if name.strip()])


def _name(name: str) -> bytes:
    return name.strip().encode("latin-1", "replace")


def _value(value: str) -> bytes:
    joined = " ".join(value.replace("\x00", "").splitlines()).strip()
    try:
        return joined.encode("latin-1")
    except UnicodeEncodeError:
        return joined.encode("utf-8", "replace")


def fields_by_name(given: Mapping[str, Any]) -> Headers:
    """The same out of a mapping from names to one value, or to a list of them."""
    return fields(
        (name, str(value))
        for name, values in given.items()
        for value in (values if isinstance(values, list) else [values])
    )


def body_of_base64(text: str, *, strict: bool = False) -> bytes:
    """A body's bytes. Raises ``NotImported``."""
    try:
        return b64decode(text, validate=strict)
    except (Error, ValueError) as error:
        raise NotImported(f"its body is not base64: {error}") from error


def each_imported(
    values: Iterable[T], imported: Callable[[T], Imported]
) -> Iterator[Imported | NotImported]:
    """What ``imported`` makes of each value; one that it refuses does not stop the others."""
    for value in values:
        try:
            yield imported(value)
        except NotImported as error:
            yield error


def charset_of(media_type: str) -> str:
    """The charset that a ``Content-Type`` names; UTF-8 where it names none."""
    for part in media_type.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'") or "utf-8"
    return "utf-8"


def text_bytes(text: str, charset: str = "utf-8") -> bytes:
    """A body's bytes out of the text that a tool stored, in the charset of its media type."""
    try:
        return text.encode(charset)
    except (LookupError, ValueError):
        return text.encode("utf-8", "surrogateescape" if _escapes(text) else "surrogatepass")


def json_bytes(value: Any) -> bytes:
    """A body's bytes out of the value that a tool stored. Raises ``NotImported``."""
    try:
        try:
            return msgspec.json.encode(value)
        except UnicodeEncodeError:  # half of a character
            return json.dumps(value, separators=(",", ":")).encode()
    except TypeError as error:
        raise NotImported(f"a body that JSON does not know: {error}") from error


def form_of(pairs: Iterable[tuple[str, str]], quote_via: Callable[..., str] = quote_plus) -> str:
    """A form or query of pairs of text, whatever is in them."""
    return urlencode(list(pairs), errors="surrogatepass", quote_via=quote_via)


def _escapes(text: str) -> bool:
    """Whether its lone surrogates are all bytes that were no UTF-8 (PEP 383)."""
    return all("\udc80" <= char <= "\udcff" for char in text if "\ud800" <= char <= "\udfff")


def utc(time: str | float | None) -> str | None:
    """RFC 3339 in UTC, of a time in that form or in seconds since 1970; ``None`` if it is none."""
    try:
        if isinstance(time, str):
            when = datetime.fromisoformat(time)
        elif time is None:
            return None
        else:
            when = datetime.fromtimestamp(time, UTC)
        when = when.replace(tzinfo=when.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""Checks whether a recording can be sent, beyond the types of its fields.

Cassettes are edited by hand. A name that is not a token, a line end in a value
or a second length would make another answer of it, or one that no client can
read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from buffr.stores.cassette.fields import LATIN_1
from buffr.stores.cassette.records import (
    ElementRecord,
    ExchangeRecord,
    FrameRecord,
    ResponseRecord,
    SessionRecord,
    SwitchRecord,
)
from buffr.wire.websocket_frames import CLOSE_CODES, MAX_CONTROL_BYTES

__all__ = ["NO_CODE", "digest_fault", "exchange_fault", "never_sent", "session_fault", "stale_cuts"]

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ENDS_A_LINE = re.compile(r"[\r\n\0]")
_DIGEST = re.compile("[0-9a-f]{64}")
_NUMBER = re.compile(r"[0-9]{1,18}")
_LENGTH, _CODING = "content-length", "transfer-encoding"
_MOST_NAMES = 4096
NO_CODE = frozenset((0, 1005))
"""Close codes that stand for a close frame without a code (RFC 6455 7.1.5)."""
_BROKE = frozenset((1006, 1015))
_CLOSE_CODE_BYTES = 2

_tokens: set[str] = set()
"""Names that are tokens (RFC 9110 5.6.2): the same few in all recordings."""
_framing: set[str] = set()
"""Fields that frame a body, in all spellings seen except the usual one of a length."""


def never_sent(close_code: int) -> bool:
    """Whether the code stands for a connection that was lost (RFC 6455 7.4.1).

    The Go program writes such codes as frames.
    """
    return close_code in _BROKE


def digest_fault(digest: str) -> str:
    """What is wrong with the name of a body's file; empty if nothing."""
    return "" if _DIGEST.fullmatch(digest) else f"{digest!r} is not a SHA-256 in hexadecimal"


def exchange_fault(record: ExchangeRecord) -> str:
    """Why an answer cannot be sent; empty if it can."""
    answer = record.response
    fault = _head_fault(answer)
    if not fault and answer.trailers:
        fault = _trailers_fault(answer)
    if not fault and answer.body_file and (wrong := digest_fault(answer.body_file)):
        fault = f"body_file: {wrong}"
    return f"http.response.{fault}" if fault else ""


def session_fault(record: SessionRecord) -> str:
    """Why a session cannot be replayed; empty if it can."""
    if record.response is not None and (fault := _head_fault(record.response)):
        return f"websocket.response.{fault}"
    for number, frame in enumerate(record.frames or ()):
        if fault := _frame_fault(frame):
            return f"websocket.frames[{number}].{fault}"
    for number, control in enumerate(record.control):
        size = len(control.data_b64 or control.data.encode())
        if size > MAX_CONTROL_BYTES:
            return (
                f"websocket.control[{number}].data: a {control.opcode} has at most"
                f" {MAX_CONTROL_BYTES} bytes, not {size}"
            )
    return ""


def stale_cuts(element: ElementRecord) -> Iterator[str]:
    """Sizes that no longer add up to the body; the body is then replayed whole."""
    if element.http is not None and (cuts := element.http.response.chunks):
        answer = element.http.response
        size = answer.body_size or len(answer.body_b64 or answer.body.encode())
        if (total := sum(cut for cut, _ in cuts)) != size:
            yield f"http.response.chunks: {total} bytes in all, and the body has {size}"
    for number, frame in enumerate((element.websocket and element.websocket.frames) or ()):
        size = frame.data_size or len(frame.data_b64 or frame.data.encode())
        if frame.fragments and (total := sum(frame.fragments)) != size:
            name = f"websocket.frames[{number}].fragments"
            yield f"{name}: {total} bytes in all, and the message has {size}"


def _head_fault(head: ResponseRecord | SwitchRecord) -> str:
    headers, names = head.headers, head.raw_headers
    if not (_tokens.issuperset(headers) and (names is None or _tokens.issuperset(names))):
        wrong = _first_wrong_name(chain(headers, names or ()))
        if wrong is not None:
            return f"headers: {wrong!r} cannot be the name of a field"
    text = "".join(chain.from_iterable(headers.values()))
    latin_1 = head.header_encoding == LATIN_1
    if (latin_1 or not text.isprintable()) and (fault := _values_fault(headers, latin_1=latin_1)):
        return f"headers.{fault}"
    if head.reason is not None and (fault := _text_fault(head.reason, latin_1=latin_1)):
        return f"reason: {fault}"
    if _framing.isdisjoint(headers):
        length = headers.get("Content-Length")
        if length is None or (len(length) == 1 and _NUMBER.fullmatch(length[0])):
            return ""
    return _framing_fault(headers)


def _first_wrong_name(names: Iterable[str]) -> str | None:
    for name in names:
        if not _NAME.fullmatch(name):
            return name
        if len(_tokens) >= _MOST_NAMES:
            _tokens.clear()
        _tokens.add(name)
        if name.lower() in (_LENGTH, _CODING) and name != "Content-Length":
            _framing.add(name)
    return None


def _values_fault(headers: dict[str, list[str]], *, latin_1: bool) -> str:
    for name, values in headers.items():
        for value in values:
            if fault := _text_fault(value, latin_1=latin_1):
                return f"{name}: {fault}"
    return ""


def _text_fault(text: str, *, latin_1: bool) -> str:
    if _ENDS_A_LINE.search(text):
        return "a line end or a zero byte cannot be sent"
    if latin_1:
        try:
            text.encode(LATIN_1)
        except UnicodeEncodeError as error:
            return f"{error.object[error.start]!r} is not in Latin-1, which header_encoding names"
    return ""


def _framing_fault(headers: dict[str, list[str]]) -> str:
    """Fields that would make the body end elsewhere than it does (RFC 9112 6.3)."""
    lengths = [one for name in headers if name.lower() == _LENGTH for one in headers[name]]
    codings = [one for name in headers if name.lower() == _CODING for one in headers[name]]
    if lengths and codings:
        return "headers: Content-Length and Transfer-Encoding cannot both be sent"
    if lengths and not (_NUMBER.fullmatch(lengths[0]) and len(set(lengths)) == 1):
        return f"headers.Content-Length: {', '.join(lengths)!r} is not one number"
    if codings and [coding.lower() for coding in codings] != ["chunked"]:
        return f"headers.Transfer-Encoding: {', '.join(codings)!r} is not 'chunked'"
    return ""


def _trailers_fault(answer: ResponseRecord) -> str:
    for name, value in answer.trailers:
        if not _NAME.fullmatch(name):
            return f"trailers: {name!r} cannot be the name of a field"
        if fault := _text_fault(value, latin_1=answer.header_encoding == LATIN_1):
            return f"trailers: {name}: {fault}"
    return ""


def _frame_fault(frame: FrameRecord) -> str:
    if frame.opcode == "close":
        code = frame.close_code
        if code not in CLOSE_CODES and code not in NO_CODE and not never_sent(code):
            return f"close_code: {code} cannot be sent (RFC 6455 7.4)"
        size = len(frame.reason.encode())
        if size > MAX_CONTROL_BYTES - _CLOSE_CODE_BYTES:
            return f"reason: it has {size} bytes, and at most 123 can be sent"
    elif frame.data_file:
        fault = digest_fault(frame.data_file)
        return f"data_file: {fault}" if fault else ""
    elif frame.opcode == "text" and frame.data_b64:
        try:
            frame.data_b64.decode()
        except UnicodeDecodeError:
            return "data_b64: a text message must be UTF-8"
    return ""

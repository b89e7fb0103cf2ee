"""JSON-RPC 2.0 messages as the Model Context Protocol (MCP) exchanges them.

Ids and progress tokens are kept as they are spelled: ``1`` and ``"1"`` are two
ids. https://modelcontextprotocol.io/specification
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import msgspec
from attrs import frozen

__all__ = ["Message", "elements", "messages", "with_ids"]

_LONGEST_BYTES = 16 << 20
_MOST_TRIED = 16
_TAIL_BYTES = 4096
_NOTHING = msgspec.Raw(b"")


class _Meta(msgspec.Struct, rename={"token": "progressToken"}):
    token: msgspec.Raw = _NOTHING


class _Params(msgspec.Struct, rename={"meta": "_meta", "token": "progressToken"}):
    meta: _Meta | None = None
    token: msgspec.Raw = _NOTHING


class _Whole(msgspec.Struct):
    id: msgspec.Raw = _NOTHING
    method: str = ""
    params: msgspec.Raw = _NOTHING
    result: msgspec.Raw = _NOTHING
    error: msgspec.Raw = _NOTHING


Read = Callable[[bytes], tuple[bytes, ...]]

_one = msgspec.json.Decoder(_Whole).decode
_batch = msgspec.json.Decoder(list[msgspec.Raw]).decode
_params = msgspec.json.Decoder(_Params).decode


@frozen
class Message:
    """A request, a notification (which has no ``id``), or an answer (which has no ``method``).

    ``token`` is the progress token that a request gives, or that a
    notification of progress names. Both are empty if absent.
    """

    method: str
    id: bytes
    token: bytes

    @property
    def is_answer(self) -> bool:
        return not self.method


def elements(body: bytes) -> tuple[bytes, ...] | None:
    """The messages of a batch, each as it is spelled; ``None`` if a body is no batch."""
    if body.lstrip()[:1] != b"[":
        return None
    try:
        found = tuple([bytes(element) for element in _batch(body)])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if found and messages(body) else None


def messages(body: bytes) -> tuple[Message, ...]:
    """The message in a body, or those of a batch; none if it is something else."""
    try:
        elements: Sequence[bytes | msgspec.Raw] = [body]
        if body.lstrip()[:1] == b"[":
            elements = _batch(body)
        return tuple([_message(_one(element)) for element in elements])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()


def _message(whole: _Whole) -> Message:
    params = _params_of(whole)
    token = params.token or (params.meta.token if params.meta is not None else _NOTHING)
    return Message(whole.method, bytes(whole.id), bytes(token))


def _params_of(whole: _Whole) -> _Params:
    try:
        return _params(whole.params) if bytes(whole.params) else _Params()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Params()


def with_ids(text: bytes, ids: Mapping[bytes, bytes], tokens: Mapping[bytes, bytes]) -> bytes:
    """A message, or a batch, with the ids of answers and the tokens of progress replaced.

    Nothing else of the text changes, and nothing at all if it is not JSON-RPC.
    The ids of requests are their sender's own and stay.
    """
    if len(text) > _LONGEST_BYTES:
        return text
    try:
        if text.lstrip()[:1] != b"[":
            return _replaced(text, ids, tokens)
        out, done = [], 0
        for element in _batch(text):
            raw = bytes(element)
            start = text.index(raw, done)
            out += [text[done:start], _replaced(raw, ids, tokens)]
            done = start + len(raw)
        return b"".join([*out, text[done:]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text


def _replaced(text: bytes, ids: Mapping[bytes, bytes], tokens: Mapping[bytes, bytes]) -> bytes:
    whole = _one(text)
    if not whole.method:
        old = bytes(whole.id)
        new = ids.get(old, old)
        return text if new == old else _with(text, b"id", old, new, _id_of)
    old = bytes(_params_of(whole).token)
    new = tokens.get(old, old)
    return text if new == old else _with(text, b"progressToken", old, new, _token_of)


def _id_of(text: bytes) -> tuple[bytes, ...]:
    whole = _one(text)
    return bytes(whole.id), bytes(whole.result), bytes(whole.error)


def _token_of(text: bytes) -> tuple[bytes, ...]:
    return (bytes(_params_of(_one(text)).token),)


def _with(text: bytes, name: bytes, old: bytes, new: bytes, read: Read) -> bytes:
    """The text with one member's value replaced: the one that is read differently then.

    The same text may stand in other places, in a result for example.
    """
    wanted = (new, *read(text)[1:])
    for found in _candidates(text, name, old):
        start, end = found.span(1)
        changed = text[:start] + new + text[end:]
        if read(changed) == wanted:
            return changed
    return text


def _candidates(text: bytes, name: bytes, old: bytes) -> Iterator[re.Match[bytes]]:
    """Places where the member may stand: the first, the last, and some of those between."""
    pattern = re.compile(rb'"%b"\s*:\s*(%b)(?=\s*[,}])' % (name, re.escape(old)))
    found = pattern.finditer(text)
    yield from islice(found, 1)
    yield from list(pattern.finditer(text, max(0, len(text) - _TAIL_BYTES)))[-1:]
    yield from islice(found, _MOST_TRIED)

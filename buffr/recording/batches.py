"""Batches of JSON-RPC messages (MCP 2025-03-26): recorded message by message, answered as one.

So a call is found whatever batch it comes in, and alone. The answers to a
batch are an array, or the events of one stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import evolve

from buffr.formats.jsonrpc import elements, messages
from buffr.interaction import Body, HTTPInteraction
from buffr.message import Headers, ResponseHead, first_value, media_type
from buffr.recording.live_messages import data_of, events

__all__ = ["merged", "split"]

_EMPTY = ((b"Content-Length", b"0"),)
_JSON, _EVENTS = b"application/json", b"text/event-stream"


def split(interaction: HTTPInteraction) -> Sequence[HTTPInteraction]:
    """An interaction for each message of a batch; itself if its request is none."""
    asked = elements(interaction.request.body.data)
    coded = first_value(interaction.response.headers, b"content-encoding") is not None
    if asked is None or coded or interaction.truncated is not None:
        return (interaction,)
    streamed = media_type(interaction.response.headers) == _EVENTS
    said = list(_said(interaction, streamed=streamed))
    found = []
    for element in asked:
        request = evolve(interaction.request, body=Body.of(element))
        own = _take(element, said)
        answer = evolve(interaction, request=request, chunks=(), body=Body())
        if not own:
            answer = evolve(answer, response=ResponseHead(202, b"Accepted", _EMPTY))
        else:
            body = b"".join(map(_event, own)) if streamed else own[-1]
            answer = evolve(answer, response=_of_length(answer.response, body), body=Body.of(body))
        found.append(answer)
    return found


def _said(interaction: HTTPInteraction, *, streamed: bool) -> Iterator[bytes]:
    """The messages of an answer."""
    body = interaction.body.data
    if streamed:
        yield from filter(None, (data_of(event) for event in events(body)))
    else:
        yield from elements(body) or ([body] if messages(body) else ())


def _take(element: bytes, said: list[bytes]) -> list[bytes]:
    """What belongs to a request, out of what was said to all: up to its answer."""
    (asked,) = messages(element) or (None,)
    if asked is None or not (asked.method and asked.id):
        return []
    own = []
    for text in list(said):
        (told,) = messages(text) or (None,)
        if told is None:
            continue
        answers = told.is_answer and told.id == asked.id
        if answers or (told.token and told.token == asked.token):
            own.append(text)
            said.remove(text)
    return own


def merged(answers: Sequence[HTTPInteraction]) -> HTTPInteraction:
    """One answer to all messages of a batch, from those to each."""
    told = [each for each in answers if each.body.size_bytes]
    if not told:
        return answers[0]
    first = told[0]
    if all(media_type(each.response.headers) == _JSON for each in told):
        body = b"[" + b",".join([each.body.data.strip() for each in told]) + b"]"
        return evolve(first, response=_of_length(first.response, body), body=Body.of(body))
    texts = [text for each in told for text in _each_said(each)]
    body = b"".join(map(_event, texts))
    response = _of_length(_of_type(first.response, _EVENTS), body)
    return evolve(first, response=response, body=Body.of(body), chunks=())


def _each_said(interaction: HTTPInteraction) -> Iterator[bytes]:
    return _said(interaction, streamed=media_type(interaction.response.headers) == _EVENTS)


def _event(text: bytes) -> bytes:
    return b"event: message\ndata: " + text + b"\n\n"


def _of_type(head: ResponseHead, kind: bytes) -> ResponseHead:
    others = _without(head.headers, b"content-type")
    return evolve(head, headers=(*others, (b"Content-Type", kind)))


def _of_length(head: ResponseHead, body: bytes) -> ResponseHead:
    length = b"%d" % len(body)
    headers = [
        (name, length if name.lower() == b"content-length" else value)
        for name, value in head.headers
    ]
    return evolve(head, headers=tuple(headers))


def _without(headers: Headers, name: bytes) -> Headers:
    return tuple([field for field in headers if field[0].lower() != name])

"""A recorded answer with changes for the live request: in its fields, and in its body."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from attrs import evolve

from buffr.formats.codings import are_known, decoding, encoding
from buffr.interaction import Body, Chunk, HTTPInteraction
from buffr.message import Headers
from buffr.recording.live_values import Replacements

__all__ = ["LiveBody", "Stream", "with_live_fields", "with_live_origin"]

_BLOCK_BYTES = 65536

# These fields frame and encode the body: a value that happens to look the same is not replaced.
_FRAMING = frozenset(
    (b"connection", b"content-encoding", b"content-length", b"trailer", b"transfer-encoding")
)


# These say what the body's bytes were (RFC 9530, RFC 1864), and would be wrong for others.
_DIGESTS = frozenset((b"content-md5", b"digest", b"content-digest", b"repr-digest"))
_CODING = frozenset((b"content-encoding",))


class Stream(Protocol):
    """Changes a text that comes in pieces. ``changed`` says whether it has changed anything."""

    changed: bool

    def feed(self, data: bytes) -> bytes:
        """The next stretch of the result; what is not yet decided comes later."""

    def end(self) -> bytes:
        """The rest."""


def with_live_fields(interaction: HTTPInteraction, replacements: Replacements) -> HTTPInteraction:
    """The interaction with live values in its answer's header and trailer fields."""
    response = interaction.response
    headers = _in_fields(response.headers, replacements)
    trailers = _in_fields(interaction.trailers, replacements)
    if (headers, trailers) == (response.headers, interaction.trailers):
        return interaction
    return evolve(interaction, response=evolve(response, headers=headers), trailers=trailers)


def with_live_origin(interaction: HTTPInteraction, live: bytes | None) -> HTTPInteraction:
    """The interaction with the live ``Origin`` if its answer allows the recorded one."""
    echoed = interaction.echoed_origin
    if live is None or echoed is None or live == echoed:
        return interaction
    response = interaction.response
    headers = tuple(
        (name, live if name.lower() == b"access-control-allow-origin" else value)
        for name, value in response.headers
    )
    return evolve(interaction, response=evolve(response, headers=headers))


def _in_fields(fields: Headers, replacements: Replacements) -> Headers:
    return tuple(
        (name, value if name.lower() in _FRAMING else replacements.in_field(value))
        for name, value in fields
    )


class LiveBody:
    """The recorded body after its way through some streams.

    ``pieces`` must be read to its end, and yields the bytes to send. A content
    coding is decoded for this, and applied again if it is ``coded``: the
    encoded bytes change, the content does not. What arrived in one chunk is
    sent in one chunk; only the beginning of a value waits for its rest.

    ``read`` returns recorded bytes from an offset on: at least one, and no
    more than requested. ``pieces`` raises ``BadCoding`` for a body that does
    not match its declared coding.
    """

    def __init__(
        self,
        interaction: HTTPInteraction,
        streams: Sequence[Stream],
        read: Callable[[int, int], bytes],
        *,
        coded: bool = True,
    ) -> None:
        values = [
            value
            for name, value in interaction.response.headers
            if name.lower() == b"content-encoding"
        ]
        self.codings = b",".join(values)
        self._interaction = interaction
        self._streams = streams
        self._coded = coded
        self._read = read
        chunks = interaction.chunks
        fitting = sum([chunk.size_bytes for chunk in chunks]) == interaction.body.size_bytes
        self._chunks = chunks if fitting else ()
        self._chunk = 0
        self._sizes = [0] * max(1, len(self._chunks))

    @property
    def readable(self) -> bool:
        """Whether its content codings are known."""
        return are_known(self.codings)

    def pieces(self) -> Iterator[bytes]:
        """The body's new bytes, in pieces of any size; read in small steps."""
        plain = decoding(self.codings, self._recorded())
        for stream in self._streams:
            plain = _through(stream, plain)
        if self._coded:
            plain = encoding(self.codings, plain, flushed=len(self._chunks) > 1)
        for piece in plain:
            self._sizes[self._chunk] += len(piece)
            yield piece

    def answer(self, body: Body) -> HTTPInteraction:
        """The interaction with all pieces as its body; the recorded one if nothing changed."""
        if self._coded and not any(stream.changed for stream in self._streams):
            return self._interaction
        chunks: list[Chunk] = []
        waited_ms = after = 0
        for chunk, size_bytes in zip(self._chunks, self._sizes, strict=False):
            waited_ms += chunk.delay_ms
            after = max(after, chunk.after)
            if size_bytes or (chunk.after and not chunk.size_bytes):
                chunks.append(Chunk(size_bytes, waited_ms, after))
                waited_ms = after = 0
        response = self._interaction.response
        wrong = _DIGESTS if self._coded else _DIGESTS | _CODING
        headers = tuple([each for each in response.headers if each[0].lower() not in wrong])
        response = evolve(response, headers=headers)
        return evolve(self._interaction, response=response, body=body, chunks=tuple(chunks))

    def _recorded(self) -> Iterator[bytes]:
        offset = 0
        for number, chunk in enumerate(self._chunks or (Chunk(self._interaction.body.size_bytes),)):
            self._chunk = number
            end = offset + chunk.size_bytes
            while offset < end:
                data = self._read(offset, min(_BLOCK_BYTES, end - offset))
                offset += len(data)
                yield data


def _through(stream: Stream, plain: Iterator[bytes]) -> Iterator[bytes]:
    for piece in plain:
        yield stream.feed(piece)
    yield stream.end()

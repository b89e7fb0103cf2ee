"""A recorded answer with the values of a live request inserted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import evolve

from buffr.formats.codings import are_known, decoding, encoding
from buffr.interaction import Body, Chunk, HTTPInteraction
from buffr.message import Headers
from buffr.recording.live_values import Replacements

__all__ = ["LiveBody", "with_live_fields", "with_live_origin"]

_BLOCK_BYTES = 65536

# These fields frame and encode the body: a value that happens to look the same is not replaced.
_FRAMING = frozenset(
    (b"connection", b"content-encoding", b"content-length", b"trailer", b"transfer-encoding")
)


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
    """The recorded body with live values inserted.

    ``pieces`` must be read to its end, and yields the bytes to send. A content
    coding is decoded for this and applied again: the encoded bytes change, the
    content does not. What arrived in one chunk is sent in one chunk; only the
    beginning of a value waits for its rest.

    ``read`` returns recorded bytes from an offset on: at least one, and no
    more than requested. ``pieces`` raises ``BadCoding`` for a body that does
    not match its declared coding.
    """

    def __init__(
        self,
        interaction: HTTPInteraction,
        replacements: Replacements,
        read: Callable[[int, int], bytes],
    ) -> None:
        values = [
            value
            for name, value in interaction.response.headers
            if name.lower() == b"content-encoding"
        ]
        self.codings = b",".join(values)
        self._interaction = interaction
        self._stream = replacements.stream()
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
        flushed = len(self._chunks) > 1
        for piece in encoding(self.codings, self._replaced(plain), flushed=flushed):
            self._sizes[self._chunk] += len(piece)
            yield piece

    def answer(self, body: Body) -> HTTPInteraction:
        """The interaction with all pieces as its body; the recorded one if nothing changed."""
        if not self._stream.changed:
            return self._interaction
        chunks: list[Chunk] = []
        waited_ms = 0
        for chunk, size_bytes in zip(self._chunks, self._sizes, strict=False):
            waited_ms += chunk.delay_ms
            if size_bytes:
                chunks.append(Chunk(size_bytes, waited_ms))
                waited_ms = 0
        return evolve(self._interaction, body=body, chunks=tuple(chunks))

    def _recorded(self) -> Iterator[bytes]:
        offset = 0
        for number, chunk in enumerate(self._chunks or (Chunk(self._interaction.body.size_bytes),)):
            self._chunk = number
            end = offset + chunk.size_bytes
            while offset < end:
                data = self._read(offset, min(_BLOCK_BYTES, end - offset))
                offset += len(data)
                yield data

    def _replaced(self, plain: Iterator[bytes]) -> Iterator[bytes]:
        for piece in plain:
            yield self._stream.feed(piece)
        yield self._stream.end()

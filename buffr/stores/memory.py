"""A store in memory: what it holds ends with the process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, evolve, field

from buffr.errors import CassetteError, StoreFailed
from buffr.interaction import Body, HTTPInteraction, RecordedRequest
from buffr.matching.key import MatchKey
from buffr.stores.base import Found
from buffr.stores.cassette_format import stored_request
from buffr.stores.elements import DigestOf, Index

__all__ = ["MemoryStore"]


def _as_it_is(interaction: HTTPInteraction) -> HTTPInteraction:
    return interaction


@define(eq=False)
class MemoryStore:
    """Keeps interactions as ``redact`` leaves them; bodies in files are read into memory."""

    digest_of: DigestOf
    redact: Callable[[HTTPInteraction], HTTPInteraction] = _as_it_is
    _index: Index = field(init=False)
    _interactions: list[HTTPInteraction] = field(init=False, factory=list)
    _closed: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._index = Index(self.digest_of)

    async def find(self, keys: Sequence[MatchKey]) -> Found | None:
        return self._index.find(keys)

    async def load(self, place: int) -> HTTPInteraction:
        if not 0 <= place < len(self._interactions):
            raise CassetteError(f"there is no recording {place}")
        return self._interactions[place]

    def places(self) -> range:
        return range(len(self._interactions))

    def request(self, place: int) -> RecordedRequest | None:
        interaction = self._interactions[place]
        return interaction.request if interaction.truncated is None else None

    async def append(self, interaction: HTTPInteraction) -> None:
        if self._closed:
            raise StoreFailed("the store is closed")
        redacted = self.redact(interaction)
        request = stored_request(redacted.request)
        try:
            kept = evolve(
                redacted,
                request=evolve(request, body=_in_memory(request.body)),
                body=_in_memory(redacted.body),
            )
        except OSError as error:
            raise StoreFailed(f"{error.filename}: {error.strerror}") from error
        self._interactions.append(kept)
        if kept.truncated is None:
            self._index.add(kept.request, len(self._interactions) - 1)

    async def close(self) -> None:
        self._closed = True


def _in_memory(body: Body) -> Body:
    return body if body.file is None else Body.of(body.file.read_bytes())

"""The recordings of a running service, read for people, edited and removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from attrs import define
from twisted.internet.threads import deferToThreadPool

from buffr.admin.running import OpenStore, Rejected
from buffr.errors import BuffrError, CassetteError, ConfigError
from buffr.formats.protobuf.bodies import MessageTypes
from buffr.interaction import Interaction
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules
from buffr.stores.cassette.format import decode, encode
from buffr.stores.cassette.removal import take_out
from buffr.stores.cassette.rewriting import rewrite
from buffr.stores.cassette.snapshot import Snapshot
from buffr.stores.cassette.store import Cassette
from buffr.stores.cassette.verifying import element_faults
from buffr.transport.eager import aside

__all__ = ["LiveRecordings", "changed_by", "element_of"]


@define(eq=False)
class LiveRecordings:
    """Reads and changes recordings. ``rules`` say what is redacted where recordings are kept."""

    reactor: Any
    rules: RedactionRules
    warn: Callable[[str], None]

    async def read(
        self, store: OpenStore, places: Sequence[int]
    ) -> Sequence[Interaction | CassetteError]:
        """The interactions at some places, or why there is none; each is read only for this."""
        held = store.held
        if isinstance(held, Cassette):
            peek = held.recordings.peek
            found: Sequence[Interaction | CassetteError] = await aside(
                self.reactor, len(places) * 65536, peek, places
            )
            return found
        return [await _one(store, place) for place in places]

    async def edit(
        self, store: OpenStore, place: int, change: Callable[[Interaction], bytes], *, save: bool
    ) -> None:
        """Replace an interaction by what ``change`` makes of it, as the JSON of an element.

        Without ``save`` it is checked, and nothing is written. Raises ``Rejected``, ``BuffrError``.
        """
        cassette, number = self._cassette(store, place)
        expected = (await self.read(store, [place]))[0]
        if isinstance(expected, CassetteError):
            raise expected
        if not save:
            check = partial(_refuse_faults, change, expected, cassette.path)
            await deferToThreadPool(self.reactor, self.reactor.getThreadPool(), check)
            return
        work = partial(self._rewrite, cassette, number, expected, change, store.matcher.types)
        await deferToThreadPool(self.reactor, self.reactor.getThreadPool(), work)
        await cassette.caught_up()

    def _rewrite(
        self,
        cassette: Cassette,
        number: int,
        expected: Interaction,
        change: Callable[[Interaction], bytes],
        types: MessageTypes,
    ) -> None:
        """Runs on a thread."""

        def choose(snapshot: Snapshot, salt: str) -> dict[int, Interaction]:
            old = _same(snapshot, number, expected)
            element = change(old)
            faults = element_faults(element, snapshot.bodies)
            if faults:
                raise Rejected(faults)
            made = decode(element, snapshot.bodies)
            redactor = Redactor(self.rules, salt.encode(), self.warn, types=types)
            return {number: redactor.interaction(made)}

        rewrite(cassette.path, choose, self.warn)

    async def remove(self, store: OpenStore, place: int) -> None:
        """Remove an interaction. Raises ``BuffrError``."""
        cassette, number = self._cassette(store, place)
        expected = (await self.read(store, [place]))[0]

        def choose(snapshot: Snapshot) -> Sequence[int]:
            if isinstance(expected, CassetteError):
                if number >= len(snapshot):
                    raise _changed(snapshot.path)
            else:
                _same(snapshot, number, expected)
            return [number]

        work = partial(take_out, cassette.path, choose, self.warn)
        await deferToThreadPool(self.reactor, self.reactor.getThreadPool(), work)
        await cassette.caught_up()

    def _cassette(self, store: OpenStore, place: int) -> tuple[Cassette, int]:
        held = store.held
        if not isinstance(held, Cassette):
            raise ConfigError(
                f"{store.name}: recordings of this kind of store cannot be edited",
                hint="a cassette's can",
            )
        return held, place - store.places.start


def _refuse_faults(change: Callable[[Interaction], bytes], old: Interaction, path: Path) -> None:
    """Raise ``Rejected`` if what would be written has faults. Runs on a thread."""
    real = path.resolve()
    faults = element_faults(change(old), real.with_name(f"{real.stem}.d"))
    if faults:
        raise Rejected(faults)


async def _one(store: OpenStore, place: int) -> Interaction | CassetteError:
    try:
        return await store.store.load(place)
    except CassetteError as error:
        return error
    except BuffrError as error:
        return CassetteError(error.message)


def _same(snapshot: Snapshot, number: int, expected: Interaction) -> Interaction:
    """The interaction at a number, which must be the one that was shown."""
    if number >= len(snapshot):
        raise _changed(snapshot.path)
    found = snapshot.interaction(number)
    if found.recorded_at is not None and encode(found) != encode(expected):
        raise _changed(snapshot.path)
    return found


def _changed(path: Path) -> CassetteError:
    return CassetteError(f"{path}: was changed meanwhile", hint="look at it again")


def changed_by(
    element: Mapping[str, Any] | None, note: str | None, *, sets_note: bool
) -> Callable[[Interaction], bytes]:
    """Makes the element of an edited interaction: another element, another note, or both."""

    def change(interaction: Interaction) -> bytes:
        text = encode(interaction) if element is None else msgspec.json.encode(element)
        if not sets_note:
            return text
        data = msgspec.json.decode(text)
        inner = data.get(data.get("type"))
        if isinstance(inner, dict):
            inner.pop("note", None)
            if note:
                inner["note"] = note
        return msgspec.json.encode(data)

    return change


def element_of(interaction: Interaction) -> dict[str, Any]:
    """The element of an interaction in memory, as data."""
    data: dict[str, Any] = msgspec.json.decode(encode(interaction))
    return data

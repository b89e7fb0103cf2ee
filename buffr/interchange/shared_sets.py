"""Moves recordings between a cassette and a set on a server that many buffrs share."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b, sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import define, field, frozen

from buffr.errors import CassetteError, StoreFailed
from buffr.interaction import Body, Interaction
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules
from buffr.stores.cassette.body_files import INLINE_BYTES
from buffr.stores.cassette.format import encode
from buffr.stores.cassette.merging import merge
from buffr.stores.cassette.snapshot import Snapshot, read_snapshot
from buffr.stores.cassette.writing import write_new
from buffr.stores.interactions import in_memory
from buffr.stores.redis.address import RedisAddress
from buffr.stores.redis.elements import kept
from buffr.stores.redis.protocol import BlockingConnection
from buffr.stores.redis.sets import Head, SetKeys, read_all, store_all

__all__ = ["Moved", "SharedSet"]


@frozen
class Moved:
    """The number of recordings that were added where they were missing, and of all there now."""

    added: int
    there: int


@define(eq=False)
class SharedSet:
    """The set of a ``name`` on the server at an ``address``. All methods block.

    What passes is redacted by ``rules``. Recordings are equal if a cassette
    has them in the same words; equal ones count as often as they occur. None
    is removed on either side. Raises ``StoreFailed`` and ``CassetteError``.
    """

    address: RedisAddress
    name: str
    rules: RedactionRules
    warn: Callable[[str], None]
    _keys: SetKeys = field(init=False)

    @_keys.default
    def _default_keys(self) -> SetKeys:
        return SetKeys(self.address.prefix, self.name)

    def push(self, path: Path, *, dry_run: bool = False) -> Moved:
        """Add what only the cassette has, in recorded order. Several pushes may run at once."""
        snapshot = _whole(path, self.warn)
        salt = (snapshot.layout.salt or secrets.token_hex(16)).encode()
        with BlockingConnection.to(self.address) as connection:
            head = Head.of(connection.ask(*self._keys.read_head()))
            if not head.id and not dry_run:
                head = Head.of(connection.ask(*self._keys.make(salt)))
            redactor = Redactor(self.rules, head.salt or salt, self.warn)
            there = _counted(redactor, read_all(connection, self._keys, head))
            seen: Counter[bytes] = Counter()
            added = 0
            for number in range(len(snapshot)):
                interaction = redactor.interaction(snapshot.interaction(number))
                digest = _digest(interaction)
                seen[digest] += 1
                if seen[digest] <= there[digest]:
                    continue
                added += 1
                if not dry_run:
                    # Another push of the same recording has the same token, and is noticed by it.
                    token = f"{digest.hex()}{seen[digest]}"
                    made = kept(interaction.with_bodies(in_memory), token)
                    store_all(connection, self._keys, made, redactor.salt)
        return Moved(added, there.total() + added)

    def pull(self, path: Path, *, dry_run: bool = False) -> Moved:
        """Add what only the set has at the end of the cassette, which is created if needed."""
        with BlockingConnection.to(self.address) as connection:
            head = Head.of(connection.ask(*self._keys.read_head()))
            if not head.id:
                raise StoreFailed(f"{self.address} has no recordings with the name {self.name}")
            snapshot = _whole(path, self.warn) if path.exists() else None
            redactor = Redactor(self.rules, head.salt, self.warn)
            here: Counter[bytes] = Counter()
            if snapshot is not None:
                here = _counted(redactor, map(snapshot.interaction, range(len(snapshot))))
            new = _missing(redactor, here, read_all(connection, self._keys, head))
            if dry_run:
                count = sum(1 for _ in new)
            elif snapshot is None:
                count = write_new(path, _hex(head.salt), new, self.warn)
            else:
                count = self._merged(snapshot, head.salt, new)
        return Moved(count, here.total() + count)

    def _merged(self, ours: Snapshot, salt: bytes, new: Iterable[Interaction]) -> int:
        """Append by merging: the cassette's own text stays as it is."""
        with TemporaryDirectory() as directory:
            file = Path(directory, "new.json")
            count = write_new(file, _hex(salt), new, self.warn)
            if count:
                merge(ours, read_snapshot(file, self.warn), None, ours.path, self.warn)
        return count


def _whole(path: Path, warn: Callable[[str], None]) -> Snapshot:
    snapshot = read_snapshot(path, warn)
    if snapshot.is_torn:
        raise snapshot.torn_end
    return snapshot


def _counted(redactor: Redactor, interactions: Iterable[Interaction]) -> Counter[bytes]:
    return Counter(_digest(redactor.interaction(each)) for each in interactions)


def _missing(
    redactor: Redactor, here: Counter[bytes], interactions: Iterable[Interaction]
) -> Iterator[Interaction]:
    left = Counter(here)
    for each in interactions:
        interaction = redactor.interaction(each)
        digest = _digest(interaction)
        if left[digest]:
            left[digest] -= 1
        else:
            yield interaction


def _digest(interaction: Interaction) -> bytes:
    """The same for equal recordings, wherever their large bodies are."""
    return blake2b(encode(interaction.with_bodies(_named)), digest_size=16).digest()


def _named(body: Body) -> Body:
    """A large body by its name alone, as in a cassette."""
    if body.size_bytes <= INLINE_BYTES:
        return in_memory(body)
    name = sha256(body.data).hexdigest() if body.file is None else body.file.name
    return Body(size_bytes=body.size_bytes, file=Path(name))


def _hex(salt: bytes) -> str:
    """The salt as a cassette has it."""
    text = salt.decode("ascii", "replace")
    if len(text) != 32:
        raise CassetteError("the salt of the set is damaged")
    return text

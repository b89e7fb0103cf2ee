"""What identifies a live request: the keys of its recordings, and what selects among them."""

from __future__ import annotations

from attrs import frozen

from buffr.matching.key import MatchKey
from buffr.matching.variants import Selecting
from buffr.redaction.for_keys import KeyRedaction
from buffr.redaction.pseudonym import COUNTED_MARK, MARK, STAND_IN

__all__ = ["Identity", "identity_of", "loosened"]


@frozen(eq=False)
class Identity:
    """Everything that a lookup needs to know about a live request.

    ``keys`` go from exact to lenient: lenient ones leave out parts of the
    origin, and treat possible data as credentials. ``headerless`` find
    recordings without request headers, if the request has some that are part
    of its key. ``loose`` are those of ``keys`` without the values that count
    by their pseudonyms; ``is_credential`` says that the request has no such
    value: its credentials are certain. ``salted``: the keys depend on the
    store's salt.
    """

    keys: tuple[MatchKey, ...]
    selecting: Selecting
    headerless: tuple[MatchKey, ...] = ()
    loose: tuple[MatchKey, ...] = ()
    is_credential: bool = False
    salted: bool = False


def identity_of(
    keys: tuple[MatchKey, ...],
    others: tuple[MatchKey, ...],
    selecting: Selecting,
    headerless: tuple[MatchKey, ...],
    redaction: KeyRedaction,
) -> Identity:
    """The identity from the ``keys`` of the exact reading and those of the ``others``."""
    exact = keys[0].parts
    if not others and not any(STAND_IN in value for _, value in exact):
        return Identity(keys, selecting, headerless)
    salted = any(MARK in value or COUNTED_MARK in value for _, value in exact)
    loosely = [loosened(key, redaction) for key in keys]
    loose = tuple([key for key in loosely if key is not None])
    for other in others:
        loose += (loosened(other, redaction) or other,)
    if not loose:
        return Identity(keys, selecting, headerless, keys, is_credential=True, salted=salted)
    return Identity((*keys, *loose), selecting, headerless, loose, salted=salted)


def loosened(key: MatchKey, redaction: KeyRedaction) -> MatchKey | None:
    """The key without values that may be data; ``None`` if it has none."""
    parts = tuple([(name, redaction.loosened(value)) for name, value in key.parts])
    return None if parts == key.parts else MatchKey(parts)

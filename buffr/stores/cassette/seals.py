"""Seals on interactions: whether one has been edited since buffr wrote it.

A seal is a digest of what the element says, whatever its layout is. It is a
member of the element, beside ``type``.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from buffr.stores.cassette.text import ELEMENT, EXCHANGE

__all__ = ["is_edited", "sealed"]

_EDITED = "edited"
"""The seal of an element that was edited, and then written again for another reason."""

_END = b"\n" + ELEMENT + b"}"
_DIGEST_BYTES = 8

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="sorted").encode


def sealed(element: bytes, *, edited: bool = False) -> bytes:
    """The element, as ``encode`` writes it, with its seal."""
    assert element.endswith(_END)
    seal = _EDITED if edited else _digest(_decode(element))
    return b'%b,\n%b"seal": "%b"%b' % (element[: -len(_END)], EXCHANGE, seal.encode(), _END)


def is_edited(element: bytes | memoryview) -> bool:
    """Whether an element is other than buffr wrote it. One without a seal is not known to be."""
    try:
        said = _decode(element)
    except ValueError:
        return True
    if not isinstance(said, dict) or "seal" not in said:
        return False
    seal = said.pop("seal")
    return bool(seal != _digest(said))


def _digest(said: Any) -> str:
    return blake2b(_encode(said), digest_size=_DIGEST_BYTES).hexdigest()

"""A cassette's text in buffr's layout, so that it can be appended to in place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from buffr.stores.cassette.layout import Layout

__all__ = ["head", "laid_out"]

_INDENT = b"\n    "


def head(salt: str, others: Iterable[bytes]) -> bytes:
    """The text up to the bracket that opens the list; ``others`` are members that are kept."""
    members = [b'"version": 1', b'"salt": "%b"' % salt.encode(), *others, b'"interactions": [']
    return b"{\n  " + b",\n  ".join(members)


def laid_out(layout: Layout) -> Iterator[bytes]:
    """The elements, each with the text before it: the same JSON in another indentation.

    Raises ``Disturbed``.
    """
    separator = _INDENT
    for number in range(len(layout.spans)):
        yield separator + _indented(layout.element(number))
        separator = b"," + _INDENT


def _indented(element: bytes) -> bytes:
    """One element in our layout. JSON strings contain no line ends."""
    text = element.replace(b"\r\n", b"\n")
    if text.startswith(b'{\n      "') and text.find(b"\n    }") == len(text) - 6:
        return text
    return msgspec.json.format(text, indent=2).replace(b"\n", _INDENT)

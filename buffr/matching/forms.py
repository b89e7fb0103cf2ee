"""Urlencoded forms, as bodies and as queries: their fields, in order."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote_from_bytes, unquote_to_bytes

__all__ = ["canonical_form", "field_name", "without_fields"]


def field_name(field: bytes) -> bytes:
    """The decoded name of one ``name=value`` (or bare ``name``) of a form or query."""
    return _plain(field.partition(b"=")[0])


def without_fields(form: bytes, names: frozenset[bytes]) -> bytes:
    """The form without the fields that have these names; all other bytes stay."""
    if not names:
        return form
    return b"&".join([field for field in form.split(b"&") if field_name(field) not in names])


def canonical_form(form: bytes, replace: Callable[[bytes, bytes], bytes | None]) -> bytes:
    """The form in one spelling of its percent-encodings, with its fields in their order.

    ``replace`` is asked about every decoded name and value, and says what value
    takes its place; ``None`` leaves the field out. ``a`` and ``a=`` stay two.
    """
    fields = []
    for field in form.split(b"&"):
        name, equals, value = field.partition(b"=")
        new = replace(_plain(name), _plain(value))
        if new is not None:
            fields.append(_quoted(_plain(name)) + equals + (_quoted(new) if equals else b""))
    return b"&".join(fields)


def _plain(text: bytes) -> bytes:
    spaced = text.replace(b"+", b" ")
    return unquote_to_bytes(spaced) if b"%" in spaced else spaced


def _quoted(text: bytes) -> bytes:
    return quote_from_bytes(text, safe="").encode("ascii")

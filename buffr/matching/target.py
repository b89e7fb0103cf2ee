"""Request-targets as keys see them."""

from __future__ import annotations

import re

__all__ = ["legal_target"]

# RFC 3986 3.3 and 3.4. Square brackets are illegal in a query too, but many clients
# send them as they are, and there nothing has ever decoded them.
_ILLEGAL_IN_PATH = re.compile(rb"%(?![0-9A-Fa-f]{2})|[^%!$&'()*+,\-./0-9:;=@A-Z_a-z~]")
_ILLEGAL_IN_QUERY = re.compile(rb"%(?![0-9A-Fa-f]{2})|[^%!$&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]")


def _encode(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % ord(found[0])


def legal_target(target: bytes) -> bytes:
    """The target with every byte that RFC 3986 forbids in it percent-encoded.

    Recordings of the Go program hold decoded paths (``/a b``, ``/ü``); the
    request had them encoded. A legal target stays as it is, ``%2f`` too.
    """
    path, mark, query = target.partition(b"?")
    legal = _ILLEGAL_IN_PATH.sub(_encode, path)
    return legal + mark + _ILLEGAL_IN_QUERY.sub(_encode, query) if mark else legal

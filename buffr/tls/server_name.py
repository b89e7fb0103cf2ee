"""The names that certificates are made for.

A name comes from a client, in its TLS hello or its CONNECT, and ends up in a
certificate that the client trusts. So it is validated before it is used: the
result is a safe value, or the one error.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from buffr.errors import BuffrError

__all__ = ["BadServerName", "is_address", "server_name"]

_LONGEST_NAME = 253
_LONGEST_LABEL = 63
_LONGEST_RAW = _LONGEST_NAME + 2
_LONGEST_SHOWN = 60
_LABEL = re.compile(r"[a-z0-9_-]+")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class BadServerName(BuffrError):
    """A name that no certificate is made for."""

    status = 400
    reason = b"Bad Request"
    close = True


@lru_cache(maxsize=1024)
def server_name(raw: bytes) -> str:
    """The name to make a certificate for: a host name or an IP address.

    Host names have letters, digits, hyphens and underscores, in labels of at
    most 63 characters, 253 in all (RFC 1035 2.3.4). An internationalised name
    comes in its ASCII form (``xn--``, RFC 5890 2.3.2.1) and stays in it. The
    result is in lower case, without the final dot of an absolute name. An IPv6
    address may be in brackets, as in a CONNECT, and is returned in its
    shortest form (RFC 5952). RFC 6066 3 forbids addresses in SNI; clients that
    send one anyway get a certificate for it.

    Raises ``BadServerName`` for everything else: wildcards, empty labels,
    non-ASCII characters, and names that end in a number, which many clients
    read as an unusual spelling of an IPv4 address.
    """
    if not raw:
        raise _bad(raw, "it is empty")
    if len(raw) > _LONGEST_RAW:
        raise _bad(raw, f"it is longer than {_LONGEST_NAME} characters")
    if not raw.isascii():
        raise _bad(raw, "it is not in ASCII; international names begin with xn--")
    text = raw.decode("ascii").lower()
    if ":" in text:
        return _ipv6(text, raw)
    name = text.removesuffix(".")
    labels = name.split(".")
    for label in labels:
        _check_label(label, raw)
    if len(name) > _LONGEST_NAME:
        raise _bad(raw, f"it is longer than {_LONGEST_NAME} characters")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(name, raw)
    return name


def is_address(name: str) -> bool:
    """Whether a name that ``server_name`` returned is an IP address."""
    return ":" in name or name.rpartition(".")[2].isdigit()


def _check_label(label: str, raw: bytes) -> None:
    if not label:
        raise _bad(raw, "one of its labels is empty")
    if len(label) > _LONGEST_LABEL:
        raise _bad(raw, f"one of its labels is longer than {_LONGEST_LABEL} characters")
    if not _LABEL.fullmatch(label):
        raise _bad(raw, "a host name has only letters, digits, '-', '_' and '.'")


def _ipv4(text: str, raw: bytes) -> str:
    try:
        return str(IPv4Address(text))
    except AddressValueError:
        raise _bad(raw, "it ends in a number, but is not an IPv4 address") from None


def _ipv6(text: str, raw: bytes) -> str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = IPv6Address(bare)
    except AddressValueError:
        raise _bad(raw, "it is neither a host name nor an IPv6 address") from None
    if address.scope_id is not None:
        raise _bad(raw, "an address with a zone is valid on one machine only")
    return str(address)


def _bad(raw: bytes, why: str) -> BadServerName:
    shown = ascii(raw[:_LONGEST_SHOWN].decode("latin-1"))
    more = "..." if len(raw) > _LONGEST_SHOWN else ""
    return BadServerName(f"no certificate is made for {shown}{more}: {why}")

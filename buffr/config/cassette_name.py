"""File names made of hosts."""

from __future__ import annotations

import re
from hashlib import blake2b
from pathlib import Path

from buffr.origin import Origin

__all__ = ["cassette_name", "default_cassette_name", "scope_cassette"]

_UNSAFE = re.compile(r"[^a-z0-9._-]")
_NAME_LENGTH = 100
_SCOPE_LENGTH = 64


def cassette_name(host: str) -> str:
    """The file name of a host's cassette: ``api.example.com.json``, ``__1.json`` for ``::1``.

    It is safe whatever the host is: no separator, no leading dot or dash, at
    most 105 characters. A host that is too long is cut, and told from others
    by a digest.
    """
    name = _UNSAFE.sub("_", host.lower())
    if name[:1] in {"", ".", "-"}:
        name = f"_{name[1:]}"
    if len(name) > _NAME_LENGTH:
        digest = blake2b(host.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
        name = f"{name[: _NAME_LENGTH - 13]}-{digest}"
    return f"{name}.json"


def default_cassette_name(origin: Origin) -> str:
    """``api.example.com.json``; with the port where it is not the scheme's own.

    Two services of one host are two upstreams, and answer nothing for each other.
    """
    return cassette_name(origin.authority.decode("ascii").strip("[]").replace("]:", ":"))


def scope_cassette(cassette: Path, scope: str) -> Path:
    """A scope's own file beside a cassette: ``api.example.com@test-42.json``.

    Without a scope it is the cassette itself. Scopes that differ in case
    alone stay apart on every file system.
    """
    if not scope:
        return cassette
    name = _UNSAFE.sub("_", scope.lower())[:_SCOPE_LENGTH]
    if name != scope:
        digest = blake2b(scope.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
        name = f"{name}-{digest}"
    return cassette.with_name(f"{cassette.stem}@{name}{cassette.suffix}")

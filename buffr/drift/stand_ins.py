"""Puts credentials where a recorded request has stand-ins for them."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from urllib.parse import unquote_to_bytes

from attrs import field, frozen

from buffr.errors import BuffrError
from buffr.message import Request
from buffr.redaction.pseudonym import CONSTANT, COUNTED, NO_DIGEST, STAND_IN, slug_of

__all__ = ["Credentials", "Fill", "StandIn", "filled", "live_values", "stand_ins"]

_ANY = re.compile(rb"(?P<jwt>eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.)?(?:%b|%b)" % (CONSTANT, COUNTED))
_NAMED = re.compile(
    rb"REDACTED[-_](?P<name>[a-z0-9]+(?:-[a-z0-9]+)*?)(?:[-_](?P<hex8>[0-9a-f]{8}))?"
)
_END = re.compile(rb"([0-9a-fA-F]{8})\Z")
_BASIC = re.compile(rb"basic[ \t]+\Z", re.IGNORECASE)


@frozen
class StandIn:
    """What stands for a secret: its text, its name, and its digest (lower-case hex), if known.

    A stand-in in the form of a UUID or of hexadecimal digits has no name.
    """

    text: bytes
    name: str
    digest: str

    def __str__(self) -> str:
        return self.name or f"with the digest {self.digest}"

    @classmethod
    def of(cls, text: bytes) -> StandIn:
        named = _NAMED.fullmatch(text[text.find(STAND_IN) :]) if STAND_IN in text else None
        if named is not None:
            digest = named["hex8"] or b""
            return cls(text, named["name"].decode(), digest.decode())
        end = _END.search(text)
        digest = b"" if end is None or end[1] == NO_DIGEST else end[1].lower()
        return cls(text, "", digest.decode())


Fill = Callable[[StandIn], bytes | None]
"""The value for a stand-in; ``None`` if there is none."""


def stand_ins(text: bytes) -> list[StandIn]:
    """Those in a text, in order."""
    return [StandIn.of(found[0]) for found in _ANY.finditer(text)]


def filled(
    text: bytes, fill: Fill, missing: list[StandIn], spell: Callable[[bytes], bytes] = bytes
) -> bytes:
    """The text with values for its stand-ins; those without one are added to ``missing``.

    ``spell`` writes a value as the text needs it.
    """

    def value(found: re.Match[bytes]) -> bytes:
        one = StandIn.of(found[0])
        given = fill(one)
        if given is None:
            missing.append(one)
            return found[0]
        if b":" in given and _BASIC.search(text[: found.start()]):
            return b64encode(given)  # a user and a password (RFC 7617)
        return spell(given)

    return _ANY.sub(value, text)


@frozen
class Credentials:
    """The values for stand-ins, from variables of the environment.

    ``variables`` maps names of stand-ins to names of variables. A name may be
    followed by the stand-in's digest (``x-api-key-1f2e3d4c``), or be the
    digest alone. An empty name of a variable means that the stand-in itself is
    sent. ``live`` are values by the names of stand-ins, for those without a
    variable.
    """

    variables: Mapping[str, str]
    environ: Mapping[str, str]
    live: Mapping[str, bytes] = field(factory=dict)

    def variable(self, one: StandIn) -> str | None:
        """The variable for a stand-in; ``None`` if none is named."""
        names = (f"{one.name}-{one.digest}", one.name, one.digest)
        return next((self.variables[name] for name in names if name in self.variables), None)

    def fill(self, one: StandIn) -> bytes | None:
        """The value for a stand-in."""
        variable = self.variable(one)
        if variable is None:
            return self.live.get(one.name)
        if not variable:
            return one.text
        value = self.environ.get(variable)
        return value.encode("utf-8", "surrogateescape") if value else None

    def missing(self, one: StandIn) -> BuffrError:
        """The error for a stand-in without a value."""
        variable = self.variable(one)
        if variable:
            return BuffrError(
                f"it needs the credential {one}",
                hint=f"set the variable {variable}, which the credential {one} is named to be in",
            )
        return BuffrError(
            f"it needs the credential {one}",
            hint=f"name the variable that has it: --credential {one.name or one.digest}=VARIABLE,"
            f" or 'credentials: {{{one.name or one.digest}: VARIABLE}}' in the settings",
        )


def live_values(request: Request) -> Mapping[str, bytes]:
    """The values of a live request by the names that stand-ins for them would have."""
    found: dict[str, bytes] = {}
    for field_of_query in (request.query or b"").split(b"&"):
        name, _, value = field_of_query.partition(b"=")
        found[slug_of(name).decode()] = unquote_to_bytes(value)
    for name, value in request.headers:
        if name.lower() == b"cookie":
            for pair in value.split(b";"):
                cookie, _, inner = pair.strip().partition(b"=")
                found[slug_of(cookie).decode()] = inner
        else:
            # The scheme, such as Bearer, stays in a recording.
            found[slug_of(name).decode()] = value.rpartition(b" ")[2]
    return {name: value for name, value in found.items() if value}

"""The settings that decide whether two requests are the same, and in which reading.

``?key=en`` and ``?key=de`` are two requests; ``?key=`` with one token or with
another is the same request. A recording's value shows which it is: data is
stored in clear. A live value may also be a dummy for a credential,
``?key=test``. So such a request is read literally first, and then with the
values of those fields as credentials.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

from attrs import field, frozen

from buffr.redaction.rules import RedactionRules

__all__ = [
    "ALL_PARTS",
    "PRESETS",
    "FrameMatch",
    "IgnoreRule",
    "MatchRules",
    "Normalisation",
    "Preset",
    "Reading",
    "other_readings",
]

FrameMatch = Literal["strict", "json", "any", "type"]

ALL_PARTS = frozenset(("method", "scheme", "host", "port", "path", "query", "body", "headers"))
"""What can identify a request; ``headers`` are those of the table in ``header_table``."""


@frozen(kw_only=True)
class IgnoreRule:
    """A stretch of a request that makes no difference.

    ``part`` is ``request.body``, ``request.path``, ``request.query``,
    ``websocket.frame``, or ``request.header.`` and a name. Every match of
    ``pattern`` (RE2 syntax) is replaced by the literal text ``replace_with``,
    in live and in recorded requests, before they are compared. With
    ``sync_response`` the recording's first match is replaced by the live
    request's in the replayed answer.
    """

    part: str
    pattern: str
    replace_with: str = ""
    sync_response: bool = False


@frozen(kw_only=True)
class Preset:
    """How another tool compares requests.

    ``on`` are the parts that count. ``query_pairs``: a query counts as its
    decoded pairs, sorted, without those that have no value. ``bodiless``:
    recordings without a request body answer a request with any body, as the
    tool may not have stored it. ``repeat`` says what follows the last
    recording of a request, as in ``Playhead``. ``json``, ``ignore`` and
    ``ignore_header`` are rules as in ``MatchRules``. ``in_dialogue``:
    requests are calls within sessions.
    """

    on: frozenset[str] = ALL_PARTS
    query_pairs: bool = False
    bodiless: bool = False
    repeat: Literal["cycle", "last", "once"] = "cycle"
    json: tuple[str, ...] = ()
    ignore: tuple[IgnoreRule, ...] = ()
    ignore_header: tuple[str, ...] = ()
    in_dialogue: bool = False


_MCP_IDS = ("id", "params.requestId", "params.progressToken", "params._meta.progressToken")
_MCP_CLIENT = (
    *("params.clientInfo", "params.protocolVersion"),
    *(
        f"params._meta['io.modelcontextprotocol/{name}']"
        for name in ("clientInfo", "protocolVersion")
    ),
)
"""What a client says of itself and its release, as others do in ``User-Agent``."""

_MCP = Preset(
    json=tuple(f"${each}.{name}" for name in (*_MCP_IDS, *_MCP_CLIENT) for each in ("", "[*]")),
    ignore=(IgnoreRule(part="request.header.last-event-id", pattern=".+", sync_response=True),),
    ignore_header=("mcp-session-id",),
    in_dialogue=True,
)
"""Calls of the Model Context Protocol, single or in a batch; ids are new in each session."""

PRESETS = MappingProxyType(
    {
        "buffr": Preset(),
        "vcr": Preset(on=ALL_PARTS - {"body", "headers"}, query_pairs=True, repeat="once"),
        "har": Preset(on=ALL_PARTS - {"headers"}, bodiless=True, repeat="last"),
        "mcp": _MCP,
    }
)


@frozen(kw_only=True)
class Normalisation:
    """What is normalised before requests are compared; each step can be switched off.

    ``json``: canonical JSON. ``multipart``: bodies without their boundary.
    ``form``: canonical urlencoded forms. ``content_coding``: compressed bodies
    are compared by their decoded content. ``signatures``: the signature of a
    pre-signed URL is left out. ``conditions``: ``Range`` and the ``If-``
    fields count if they are sent, as the answer depends on them.
    ``idempotency``: tokens that a program generates for each call do not
    count. ``query_order``: query fields with different names may come in any
    order; this one is off.
    """

    json: bool = True
    multipart: bool = True
    form: bool = True
    content_coding: bool = True
    signatures: bool = True
    conditions: bool = True
    idempotency: bool = True
    query_order: bool = False


@frozen(kw_only=True)
class MatchRules:
    """How requests are compared.

    ``redaction`` names the credentials. With ``credentials="constant"`` their
    values make no difference, so that a dummy key replays what a real one
    recorded. With ``"distinct"`` they do, as far as their pseudonyms differ:
    those of passwords, ``Basic`` and secrets under 20 characters do not. With
    ``"exact"``, credentials in URLs and bodies count literally, for keys that
    are never stored in clear.

    Left out of the comparison: the matches of the ``ignore`` rules, the values
    that the JSONPaths (RFC 9535) of ``json`` select in JSON bodies, and the
    ``query`` fields and the fields of urlencoded ``form`` bodies with these
    names. ``header`` fields are compared in addition to those that always are,
    ``ignore_header`` fields never.
    Bodies of more than ``body_bytes``, decoded, are compared by their bytes.
    With strict ``variants`` a recording never answers another variant of its
    request. ``frame`` says how WebSocket messages are compared, as in
    ``FrameRules``, and ``frame_type`` names the member for ``type``. ``on``,
    ``query_pairs`` and ``bodiless`` are those of ``Preset``; the fields of
    ``header`` count whatever ``on`` says.
    """

    redaction: RedactionRules = field(factory=RedactionRules)
    credentials: Literal["constant", "distinct", "exact"] = "constant"
    ignore: tuple[IgnoreRule, ...] = ()
    json: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    form: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    ignore_header: tuple[str, ...] = ()
    variants: Literal["lenient", "strict"] = "lenient"
    body_bytes: int = 64 << 20
    frame: FrameMatch = "json"
    frame_type: str = "type"
    normalise: Normalisation = field(factory=Normalisation)
    on: frozenset[str] = ALL_PARTS
    query_pairs: bool = False
    bodiless: bool = False


_MOST_NAMES = 3


@frozen(eq=False)
class Reading:
    """Treats the fields with these ``names``, as spelled, as credentials too.

    ``doubtful`` collects the names of other fields that it was asked about and
    that may be credentials.
    """

    rules: RedactionRules
    names: frozenset[bytes] = frozenset()
    doubtful: set[bytes] = field(factory=set, init=False)

    def is_credential_field(self, name: bytes) -> bool:
        """Whether a field of a query or form may hold a credential."""
        return self.rules.is_credential_field(name)

    def holds_credential(self, name: bytes, value: bytes) -> bool:
        """Whether a field contains a credential in this reading."""
        if self.rules.holds_credential(name, value):
            return True
        if not self.rules.is_credential_field(name):
            return False
        if name in self.names:
            return True
        self.doubtful.add(name)
        return False


def other_readings(doubtful: frozenset[bytes]) -> tuple[frozenset[bytes], ...]:
    """For each other reading the names that it treats as credentials, from few to all."""
    if not doubtful:
        return ()
    if not 1 < len(doubtful) <= _MOST_NAMES:
        return (doubtful,)
    return (*[frozenset((name,)) for name in sorted(doubtful)], doubtful)

"""What a request asks of a cache, worked out once for alike requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import blake2b, sha256

from attrs import evolve, frozen

from buffr.errors import BadRequest
from buffr.matching.body import LongBody
from buffr.matching.matcher import Matcher
from buffr.message import Headers, Request, first_value
from buffr.origin import Origin
from buffr.policy.cache.conditions import CONDITIONS, is_for_upstream
from buffr.policy.cache.directives import Directives, request_directives
from buffr.policy.cache.freshness import joined
from buffr.policy.cache.rules import CacheRules
from buffr.redaction.rules import RedactionRules
from buffr.stores.cache import StoredEntry
from buffr.transport.memo import Memo

__all__ = [
    "FLIGHT_TIMEOUT",
    "Asked",
    "CacheKeys",
    "Conceal",
    "methods_of",
    "select",
    "selecting_fields",
]

FLIGHT_TIMEOUT = b"x-buffr-flight-timeout"
_LONGEST_TIMEOUT_S = 86400.0
_DIGEST_BYTES = 16
_FOR_BUFFR = frozenset((b"proxy-authorization", b"x-buffr-key", b"x-api-buddy-key"))
"""These name a client to buffr; no upstream sees them."""


_OVERRIDES = frozenset((b"x-http-method-override", b"x-http-method", b"x-method-override"))
_LENGTHS = frozenset(map(len, _OVERRIDES))


def methods_of(request: Request) -> frozenset[bytes]:
    """The request's method, and those that its fields tell some frameworks to take it for."""
    meant = {request.method}
    for name, value in request.headers:
        if len(name) in _LENGTHS and name.lower() in _OVERRIDES:
            meant.add(value.strip().upper())
    return frozenset(meant)


def _media_type(headers: Headers) -> bytes:
    """What a body is said to be, without parameters; JSON, which many clients leave out, is none.

    An upstream may read the same bytes in two ways.
    """
    value = first_value(headers, b"content-type") or b""
    media_type = value.partition(b";")[0].strip().lower()
    return b"" if media_type == b"application/json" else media_type


@frozen(eq=False)
class Asked:
    """A request as a cache sees it.

    ``own`` is the key among requests with the same credentials, ``shared``
    that among all; they are one for a request without credentials.
    ``plain``: nothing in its fields changes what is stored for it.
    ``for_upstream``: only the upstream can judge its conditions.
    ``timeout_s`` is how long the client would wait for an answer's head.
    """

    own: bytes
    shared: bytes
    directives: Directives
    plain: bool
    conditional: bool
    ranged: bool
    for_upstream: bool
    timeout_s: float | None


class CacheKeys:
    """Makes the keys of one route's entries.

    Keys and concealed values are keyed digests, so that nothing of a
    credential can be read from a store without its ``salt``. ``name`` is what tells the upstream
    from others.
    """

    def __init__(
        self,
        matcher: Matcher,
        redaction: RedactionRules,
        rules: CacheRules,
        name: str,
        salt: Callable[[], bytes],
    ) -> None:
        self._matcher = matcher
        self._redaction = redaction
        self._rules = rules
        # What was stored under other overrides must not be found.
        told = "|".join((name, *sorted(rules.override)))
        self._name = sha256(told.encode()).digest()
        self._salt = salt
        self._known: Memo[tuple[Request, Origin | None, bytes], Asked] = Memo(
            entries=4096, size_bytes=8 << 20
        )

    def asked(self, request: Request, body: bytes | LongBody, origin: Origin | None) -> Asked:
        """What a request asks. Raises ``BadRequest`` for a malformed field of ours."""
        if body:
            return self._asked(request, body, origin)
        name = (request, origin, self._salt())
        known = self._known.get(name)
        if known is None:
            known = self._asked(request, b"", origin)
            self._known.put(name, known, request.head_bytes)
        return known

    def disregards(self, name: bytes) -> bool:
        """Whether this field makes no difference unless a ``Vary`` names it; in lower case."""
        return self._matcher.disregards(name) and not self._is_credential(name)

    def _asked(self, request: Request, body: bytes | LongBody, origin: Origin | None) -> Asked:
        # What is stored for GET answers HEAD too.
        keyed = evolve(request, method=b"GET") if request.method == b"HEAD" else request
        digest = self._matcher.live(keyed, body, origin).keys[0].digest
        digest += b" ".join(sorted(methods_of(keyed)))
        if body:
            digest += b" " + _media_type(request.headers)
        credentials = self._credentials(request.headers)
        shared = self._digest(digest)
        names = {name.lower() for name, _ in request.headers}
        said = request_directives(request.headers)
        conditional = not names.isdisjoint(CONDITIONS)
        ranged = b"range" in names
        return Asked(
            own=self._digest(digest + credentials) if credentials else shared,
            shared=shared,
            directives=said,
            plain=not (conditional or ranged),
            conditional=conditional,
            ranged=ranged,
            for_upstream=is_for_upstream(request.headers),
            timeout_s=_timeout(request.headers),
        )

    def _digest(self, data: bytes) -> bytes:
        keyed = blake2b(self._name, digest_size=_DIGEST_BYTES, key=self._salt()[:64])
        keyed.update(data)
        return keyed.digest()

    def _is_credential(self, name: bytes) -> bool:
        if name in _FOR_BUFFR or not self._redaction.is_credential_header(name):
            return False
        kind = "cookie" if name in (b"cookie", b"cookie2") else "authorization"
        return kind not in self._rules.override

    def _credentials(self, headers: Headers) -> bytes:
        fields = [
            b"%d:%b%d:%b" % (len(name), name.lower(), len(value), value)
            for name, value in headers
            if self._is_credential(name.lower())
        ]
        return b"".join(sorted(fields))

    def conceal(self, name: bytes, value: bytes) -> bytes:
        """What is stored of a selecting field: a digest of a credential, else the value."""
        if not self._redaction.is_credential_header(name):
            return value
        return self._digest(name + b":" + value).hex().encode()


def _timeout(headers: Headers) -> float | None:
    value = first_value(headers, FLIGHT_TIMEOUT)
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _LONGEST_TIMEOUT_S:
        raise BadRequest("X-Buffr-Flight-Timeout: must be seconds, more than 0, at most 86400")
    return seconds


Conceal = Callable[[bytes, bytes], bytes]
"""What is kept of a selecting field's value: given its lower-case name and its value."""

_COMMAS = re.compile(rb"[ \t]*,[ \t]*")
_IN_ANY_CASE = frozenset((b"accept-encoding", b"accept-charset", b"accept-language"))
"""Lists of names that RFC 9110 12.5 compares without case."""
_IN_ANY_ORDER = frozenset((b"accept-encoding", b"accept-charset"))
"""Not so ``Accept-Language``: many upstreams prefer the language that comes first (12.5.4)."""


def selecting_fields(response: Headers, request: Headers, conceal: Conceal) -> Headers:
    """The request's fields that the response's ``Vary`` names, alike for alike requests.

    A field that was not sent is as one that is empty.
    """
    vary = joined(response, b"vary")
    if vary is None:
        return ()
    names = sorted({name.strip().lower() for name in vary.split(b",")} - {b""})
    return tuple((name, _selecting(request, name, conceal)) for name in names)


def _selecting(request: Headers, name: bytes, conceal: Conceal) -> bytes:
    value = joined(request, name)
    return conceal(name, _normal(name, value)) if value else b""


def _normal(name: bytes, value: bytes) -> bytes:
    value = _COMMAS.sub(b",", value.strip())
    if name in _IN_ANY_CASE:
        value = value.lower()
    if name in _IN_ANY_ORDER:
        value = b",".join(sorted(value.split(b",")))
    return value


def select(
    found: Sequence[StoredEntry], method: bytes, request: Headers, conceal: Conceal
) -> StoredEntry | None:
    """The variant that a request selects; the last one stored if there are several.

    A stored answer to ``GET`` answers ``HEAD``, not the other way round.
    """
    for cached in found:
        entry = cached.entry
        if entry.method != method and (method != b"HEAD" or entry.method != b"GET"):
            continue
        if all(_selecting(request, name, conceal) == value for name, value in entry.vary):
            return cached
    return None

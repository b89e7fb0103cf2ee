"""All errors that are reported to a user or a client.

One tree. A class has the HTTP status of its answer, and an error has a hint
that tells how to fix it. Only a listener turns an error into an answer, and
only ``tap`` and ``cli`` turn one into an exit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

__all__ = [
    "AccessDenied",
    "BadFraming",
    "BadRequest",
    "BadUpstreamAnswer",
    "BodyCutShort",
    "BuffrError",
    "CassetteError",
    "ClientGone",
    "ConfigError",
    "FlightTimeout",
    "KeyNeeded",
    "LoopDetected",
    "NoMatch",
    "NoSuchRoute",
    "NotCached",
    "ProxyKeyNeeded",
    "RateLimited",
    "SessionDrift",
    "StoreFailed",
    "StoreUnreachable",
    "UnsafeRecording",
    "Unwritable",
    "UpstreamFailed",
    "UpstreamTimeout",
    "WebSocketFault",
    "reset_of",
]


_NO_RETRY = ((b"X-Should-Retry", b"false"), (b"Stripe-Should-Retry", b"false"))
"""Fields that keep SDKs from pointless retries."""


class BuffrError(Exception):
    """The root of the tree.

    ``status`` is the HTTP status of the answer, ``reason`` its reason phrase;
    ``close``: the connection cannot carry further requests. ``headers`` are
    additional fields of the answer, ``code`` identifies the kind to programs.
    ``noted``: it has been logged. ``details`` are for programs, and
    ``details_json`` writes them as ``json.dumps`` would, if it is there;
    ``explanation`` is lines for people. ``reason_first``: the answer's text
    begins with the reason phrase, as clients of reference-api-buddy expect.
    """

    status = 500
    reason = b"Internal Server Error"
    close = False
    headers: tuple[tuple[bytes, bytes], ...] = ()
    code = "error"
    noted = False
    details: Mapping[str, object] = MappingProxyType({})
    details_json: Callable[[], str] | None = None
    explanation = ""
    reason_first = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def text(self) -> str:
        """The text of a plain-text answer."""
        phrase = f"{self.reason.decode('ascii')}: " if self.reason_first else ""
        return f"{phrase}buffr: {self}\n{self.explanation}"

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class ConfigError(BuffrError):
    """A setting is invalid. The message names its source, path, value and what is allowed."""


class CassetteError(BuffrError):
    """A cassette cannot be read or written. The file is left unchanged."""

    headers = _NO_RETRY
    code = "cassette"


class UnsafeRecording(BuffrError):
    """An interaction may hold credentials that could not be found, and is not recorded."""


class StoreFailed(BuffrError):
    """A store could not save an interaction."""


class StoreUnreachable(StoreFailed):
    """A shared store did not answer, or not in time, and the settings do not go on without it."""

    status = 503
    reason = b"Service Unavailable"
    headers = ((b"Retry-After", b"1"),)
    code = "store_unreachable"


class Unwritable(StoreFailed):
    """Nothing can be recorded, which is noticed at startup, and the settings do not allow that."""


class BadRequest(BuffrError):
    """A request that is malformed or ambiguous (RFC 9112)."""

    close = True
    code = "bad_request"

    def __init__(
        self, message: str, *, status: int = 400, reason: bytes = b"Bad Request", hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.reason = reason


class NoMatch(BuffrError):
    """A replay has no recorded interaction for the request."""

    status = 599
    reason = b"No Recorded Interaction"
    headers = _NO_RETRY
    code = "no_match"


class SessionDrift(NoMatch):
    """A client deviated from a recorded WebSocket session, or from a recorded call in turns."""


class HookFailed(BuffrError):
    """A hook of the user's raised an error, took too long, or returned something else."""

    code = "hook_failed"


class AccessDenied(BuffrError):
    """The client may not use the proxy, or may not reach this destination."""

    status = 403
    reason = b"Forbidden"


class KeyNeeded(AccessDenied):
    """The client sent no key for this port, or a wrong one (RFC 9110 15.5.2)."""

    status = 401
    reason = b"Unauthorized"
    headers = ((b"WWW-Authenticate", b'Bearer realm="buffr"'),)
    code = "key_needed"
    reason_first = True


class NoSuchRoute(BuffrError):
    """A path at the gateway matches none of its routes."""

    status = 404
    reason = b"Not Found"
    code = "no_such_route"
    reason_first = True


class ProxyKeyNeeded(AccessDenied):
    """The client sent no credentials for the proxy, or wrong ones (RFC 9110 15.5.8)."""

    status = 407
    reason = b"Proxy Authentication Required"
    headers = ((b"Proxy-Authenticate", b'Basic realm="buffr"'),)


class RateLimited(BuffrError):
    """A route's limits would make the request wait for too long (RFC 6585 4).

    ``retry_after_s`` is when it could leave, ``limit`` the count of the window
    that delays it.
    """

    status = 429
    reason = b"Too Many Requests"
    code = "rate_limited"
    reason_first = True

    def __init__(
        self,
        message: str,
        retry_after_s: int,
        headers: tuple[tuple[bytes, bytes], ...],
        *,
        limit: int | None = None,
    ) -> None:
        super().__init__(message, hint=f"try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s
        self.headers = headers
        self.limit = limit


class UpstreamFailed(BuffrError):
    """The upstream could not be reached, or closed the connection before it answered."""

    status = 502
    reason = b"Bad Gateway"
    code = "upstream_failed"


class BadUpstreamAnswer(UpstreamFailed):
    """The upstream's answer is malformed."""


class LoopDetected(BuffrError):
    """A request came back to a buffr that had forwarded it (RFC 5842 7.2)."""

    status = 508
    reason = b"Loop Detected"
    headers = ((b"X-Should-Retry", b"false"),)  # it would loop again
    code = "loop_detected"


class UpstreamTimeout(BuffrError):
    """The upstream did not answer in time."""

    status = 504
    reason = b"Gateway Timeout"
    code = "upstream_timeout"


class FlightTimeout(UpstreamTimeout):
    """A shared answer did not arrive within the time that this client may wait."""

    code = "flight_timeout"


class NotCached(BuffrError):
    """The client accepts only a stored answer, and there is none (RFC 9111 5.2.1.7)."""

    status = 504
    reason = b"Gateway Timeout"
    code = "not_cached"


class BodyCutShort(BuffrError):
    """A body ended before its framing was complete.

    ``reset`` is the code with which its stream in HTTP/2 was reset, if it was
    (RFC 9113 7).
    """

    status = 502
    reason = b"Bad Gateway"
    close = True

    def __init__(self, message: str, *, reset: int | None = None) -> None:
        super().__init__(message)
        self.reset = reset


def reset_of(error: BuffrError) -> int | None:
    """The code with which a body's stream was reset, if that is why it broke off."""
    return error.reset if isinstance(error, BodyCutShort) else None


class ClientGone(BuffrError):
    """The client left before it had its answer. The status appears only in the log."""

    status = 499
    reason = b"Client Closed Request"
    close = True


class BadFraming(BuffrError):
    """A body's framing is broken or ambiguous (RFC 9112 6, 7)."""

    status = 400
    reason = b"Bad Request"
    close = True


class WebSocketFault(BuffrError):
    """A frame that violates the protocol or a limit.

    ``close_code`` ends the session (RFC 6455 7.4.1); it is too late for an
    answer with a status.
    """

    def __init__(self, message: str, *, close_code: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.close_code = close_code

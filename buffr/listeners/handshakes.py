"""Log lines about clients whose TLS in a tunnel failed, or that left after it without a request."""

from __future__ import annotations

import re

from attrs import define, field
from OpenSSL import SSL
from twisted.logger import LogLevel

from buffr.log import say
from buffr.upstream.failures import reason_of

__all__ = ["LEFT", "REFUSED", "RUNTIMES", "TLS_FAILED", "HandshakeReports"]

REFUSED = "client refused buffr's certificate"
LEFT = "client left the TLS handshake"
TLS_FAILED = "TLS in a tunnel failed"

_MOST_SAID = 10_000
_CERTIFICATE_REFUSED = re.compile("alert.*(?:certificate|unknown ca)")
"""OpenSSL's words for alerts 42 to 46 and 48 (RFC 8446 6.2)."""

_AT_ONCE_S = 3.0
"""A client that checks the certificate after the handshake leaves at once. Browsers that open
connections in advance keep them longer."""

RUNTIMES = (
    ("curl", "curl"),
    ("Wget", "wget"),
    ("Go-http-client", "go"),
    ("Java", "java"),
    ("node", "node"),
    ("undici", "node"),
    ("npm", "npm"),
    ("git", "git"),
    ("python-requests", "requests"),
    ("python-httpx", "httpx"),
    ("aiohttp", "aiohttp"),
    ("Python-urllib", "aiohttp"),
    ("pip", "pip"),
    ("uv", "uv"),
    ("poetry", "poetry"),
    ("cargo", "cargo"),
    ("Debian APT", "apt"),
    ("Ruby", "ruby"),
    ("Firefox", "firefox"),
    ("Chrome", "chromium"),
)
"""Words in a ``User-Agent``, and the client's name for ``buffr ca --install-hint``."""


_OF_NODE = "for Node `node`, and `list` for others"
"""Node sends no ``User-Agent`` with CONNECT."""


@define(eq=False)
class HandshakeReports:
    """Logs, once for each host and kind of failure, that a client got no further than TLS.

    ``agent`` is the ``User-Agent`` of its CONNECT, empty if there was none.
    """

    _said: set[tuple[str, str]] = field(factory=set)
    _asked: set[tuple[str, str]] = field(factory=set)

    def failed(self, host: str, agent: str, error: SSL.Error) -> None:
        """The handshake failed, by an alert or by a fault in it."""
        words = reason_of(error) or ""
        if _CERTIFICATE_REFUSED.search(words) is None:
            if self._is_new(host, words):
                say(LogLevel.warn, TLS_FAILED, host=host, err=words)
        elif self._is_new(host, REFUSED):
            hint = f"{_trust(agent)}, or bypass a host that is pinned"
            say(LogLevel.warn, REFUSED, host=host, hint=hint)

    def left(self, host: str, agent: str, after_s: float | None) -> None:
        """The client left without an alert, ``after_s`` seconds after the handshake.

        ``None`` means during it. Node and GnuTLS check the certificate after
        the handshake, and do not tell the server what they think of it.
        """
        if after_s is not None and (
            after_s > _AT_ONCE_S or (agent and (host, agent) in self._asked)
        ):
            return
        if self._is_new(host, LEFT):
            client = {"client": agent} if agent else {}
            why = "it may not trust buffr's CA"
            say(LogLevel.warn, LEFT, host=host, **client, err=why, hint=_trust(agent, _OF_NODE))

    def asked(self, host: str, agent: str) -> None:
        """A request came: this client accepts the certificate."""
        if agent and len(self._asked) < _MOST_SAID:
            self._asked.add((host, agent))

    def _is_new(self, host: str, what: str) -> bool:
        if (host, what) in self._said or len(self._said) >= _MOST_SAID:
            return False
        self._said.add((host, what))
        return True


def _trust(agent: str, unnamed: str = "`list` has the clients") -> str:
    """What to do, for this client if it is known, otherwise in general."""
    known = next((runtime for word, runtime in RUNTIMES if word.lower() in agent.lower()), None)
    if known is not None:
        return f"trust the CA as `buffr ca --install-hint {known}` says"
    return f"trust the CA that `buffr ca` prints; `buffr ca --install-hint` says how: {unnamed}"

"""Requests that could be read in two ways, are none, or are more than is allowed, by kind.

``TARGET`` and ``AUTHORITY`` stand for what a way to buffr wants there. Behind each
comes a request that nobody must take for one of the client's.
"""

from __future__ import annotations

__all__ = ["BEHIND", "HOSTILE", "HOSTILE_TO_PROXIES"]

BEHIND = b"GET /smuggled HTTP/1.1\r\nHost: AUTHORITY\r\n\r\n"
_LENGTH = b"POST TARGET HTTP/1.1\r\nHost: AUTHORITY\r\n%b\r\n"
_CHUNKED = b"POST TARGET HTTP/1.1\r\nHost: AUTHORITY\r\nTransfer-Encoding: chunked\r\n\r\n%b"
_FIELD = b"GET TARGET HTTP/1.1\r\nHost: AUTHORITY\r\n%b\r\n\r\n"

HOSTILE: dict[str, bytes] = {
    # Framing: two readers could see two lengths (RFC 9112 6.3).
    "both lengths": _LENGTH % b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + b"0\r\n\r\n",
    "both, reversed": _LENGTH % b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"
    + b"0\r\n\r\n",
    "two lengths": _LENGTH % b"Content-Length: 0\r\nContent-Length: 40\r\n",
    "a list of lengths": _LENGTH % b"Content-Length: 0, 40\r\n",
    "a signed length": _LENGTH % b"Content-Length: +0\r\n",
    "a negative length": _LENGTH % b"Content-Length: -1\r\n",
    "a hexadecimal length": _LENGTH % b"Content-Length: 0x0\r\n",
    "an empty length": _LENGTH % b"Content-Length:\r\n",
    "a length that overflows": _LENGTH % b"Content-Length: 18446744073709551616\r\n",
    "a length with a blank": _LENGTH % b"Content-Length: 0 0\r\n",
    "a length with a separator": _LENGTH % b"Content-Length: 1_0\r\n",
    "an unknown coding": _LENGTH % b"Transfer-Encoding: xchunked\r\n" + b"0\r\n\r\n",
    "chunked not last": _LENGTH % b"Transfer-Encoding: chunked, gzip\r\n" + b"0\r\n\r\n",
    "chunked twice": _LENGTH % b"Transfer-Encoding: chunked, chunked\r\n" + b"0\r\n\r\n",
    "identity": _LENGTH % b"Transfer-Encoding: identity\r\n",
    "a tab in the coding": _LENGTH % b"Transfer-Encoding: \x0bchunked\r\n" + b"0\r\n\r\n",
    "a quoted coding": _LENGTH % b'Transfer-Encoding: "chunked"\r\n' + b"0\r\n\r\n",
    "a coding in HTTP/1.0": (
        b"POST TARGET HTTP/1.0\r\nHost: AUTHORITY\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    # Chunks (RFC 9112 7.1).
    "no size": _CHUNKED % b"\r\n\r\n",
    "a size that is none": _CHUNKED % b"g\r\n",
    "a size with 0x": _CHUNKED % b"0x1\r\na\r\n0\r\n\r\n",
    "a negative size": _CHUNKED % b"-1\r\n",
    "a signed size": _CHUNKED % b"+1\r\na\r\n0\r\n\r\n",
    "a size that overflows": _CHUNKED % b"10000000000000000\r\n",
    "a blank before the size": _CHUNKED % b" 1\r\na\r\n0\r\n\r\n",
    "a chunk that is longer": _CHUNKED % b"1\r\nab\r\n0\r\n\r\n",
    "a chunk without its end": _CHUNKED % b"1\r\na0\r\n\r\n",
    "a line feed behind the size": _CHUNKED % b"1\na\r\n0\r\n\r\n",
    "a line feed in an extension": _CHUNKED % b"1;a=\n\r\na\r\n0\r\n\r\n",
    "a return in an extension": _CHUNKED % b"1;a\rb\r\na\r\n0\r\n\r\n",
    "a line feed behind a chunk": _CHUNKED % b"1\r\na\n0\r\n\r\n",
    # Lines and fields (RFC 9112 2.2, 5; RFC 9110 5.5).
    "line feeds": b"GET TARGET HTTP/1.1\nHost: AUTHORITY\n\n",
    "a line feed in a field": _FIELD % b"X: a\nY: b",
    "a return in a field": _FIELD % b"X: a\rY: b",
    "a NUL in a field": _FIELD % b"X: a\x00b",
    "a control in a name": _FIELD % b"X\x01: a",
    "a blank before the colon": _FIELD % b"X : a",
    "a folded field": _FIELD % b"X: a\r\n b",
    "a folded first field": b"GET TARGET HTTP/1.1\r\n Host: AUTHORITY\r\nHost: AUTHORITY\r\n\r\n",
    "no colon": _FIELD % b"X",
    "no name": _FIELD % b": a",
    "no host": b"GET TARGET HTTP/1.1\r\n\r\n",
    "two hosts": _FIELD % b"Host: AUTHORITY",
    "a list of hosts": b"GET TARGET HTTP/1.1\r\nHost: AUTHORITY, b.test\r\n\r\n",
    "a host with a user": b"GET TARGET HTTP/1.1\r\nHost: a@AUTHORITY\r\n\r\n",
    "a host with a path": b"GET TARGET HTTP/1.1\r\nHost: AUTHORITY/x\r\n\r\n",
    "a host with a blank": b"GET TARGET HTTP/1.1\r\nHost: a b\r\n\r\n",
    # The request's line (RFC 9112 3).
    "no version": b"GET TARGET\r\n\r\n",
    "version 2.0": b"GET TARGET HTTP/2.0\r\nHost: AUTHORITY\r\n\r\n",
    "version 1.10": b"GET TARGET HTTP/1.10\r\nHost: AUTHORITY\r\n\r\n",
    "a version in small letters": b"GET TARGET http/1.1\r\nHost: AUTHORITY\r\n\r\n",
    "two blanks": b"GET  TARGET HTTP/1.1\r\nHost: AUTHORITY\r\n\r\n",
    "a tab": b"GET\tTARGET HTTP/1.1\r\nHost: AUTHORITY\r\n\r\n",
    "a blank behind the version": b"GET TARGET HTTP/1.1 \r\nHost: AUTHORITY\r\n\r\n",
    "a blank in the target": b"GET TARGET x HTTP/1.1\r\nHost: AUTHORITY\r\n\r\n",
    "a method that is no token": b"G(T TARGET HTTP/1.1\r\nHost: AUTHORITY\r\n\r\n",
    "a control in the target": b"GET TARGET\x01 HTTP/1.1\r\nHost: AUTHORITY\r\n\r\n",
    "a hello of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32) + b"\r\n\r\n",
    # Limits.
    "a long target": b"GET TARGET%b HTTP/1.1\r\nHost: AUTHORITY\r\n\r\n" % (b"x" * 70_000),
    "a long field": _FIELD % (b"X: " + b"x" * 300_000),
    "many fields": _FIELD % (b"X: y\r\n" * 2_000 + b"Z: y"),
}
HOSTILE_TO_PROXIES: dict[str, bytes] = {
    "no port": b"CONNECT a.test HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "port 0": b"CONNECT a.test:0 HTTP/1.1\r\nHost: a.test:0\r\n\r\n",
    "port 65536": b"CONNECT a.test:65536 HTTP/1.1\r\nHost: a.test:65536\r\n\r\n",
    "a signed port": b"CONNECT a.test:+80 HTTP/1.1\r\nHost: a.test:+80\r\n\r\n",
    "no name at all": b"CONNECT :443 HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "a user": b"CONNECT a@a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
    "a URL": b"CONNECT http://a.test:443/ HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
    "a path": b"CONNECT a.test:443/x HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
    "an open bracket": b"CONNECT [::1:443 HTTP/1.1\r\nHost: [::1:443\r\n\r\n",
    "another scheme": b"GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "a URL without a host": b"GET http:///x HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "a URL with a user": b"GET http://u:p@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
}
"""In the place of a request to the forward proxy itself."""

"""Request heads as clients send them, good and bad, each by a name."""

from __future__ import annotations

__all__ = ["ACCEPTED", "ENCODED", "REFUSED", "REFUSED_CODINGS", "head", "target"]


def head(fields: bytes = b"", *, line: bytes = b"GET /p HTTP/1.1", host: bytes = b"h") -> bytes:
    """A request head with a ``Host`` and these field lines."""
    return line + b"\r\nHost: " + host + b"\r\n" + fields + b"\r\n"


def target(form: bytes) -> bytes:
    return head(line=b"GET " + form + b" HTTP/1.1")


ACCEPTED = {
    "plain": head(),
    "http10": head(line=b"GET /p HTTP/1.0"),
    "http10 without host": b"GET /p HTTP/1.0\r\n\r\n",
    "length": head(b"Content-Length: 5\r\n"),
    "length over 2**32": head(b"Content-Length: 4294967301\r\n"),
    "length with leading zeros": head(b"Content-Length: 0005\r\n"),
    "chunked": head(b"Transfer-Encoding: chunked\r\n"),
    "chunked in capitals": head(b"transfer-ENCODING: CHUNKED\r\n"),
    "chunked behind a tab": head(b"Transfer-Encoding:\tchunked\r\n"),
    "chunked named by Connection": head(
        b"Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n"
    ),
    "underscore is another field": head(b"Content_Length: 3\r\nContent-Length: 5\r\n"),
    "underscored coding is another field": head(b"Transfer_Encoding: chunked\r\n"),
    "close": head(b"Connection: Close\r\n"),
    "expect": head(b"Expect: 100-Continue\r\nContent-Length: 5\r\n"),
    "upgrade": head(b"Connection: keep-alive, Upgrade\r\nUpgrade: foo/9, WebSocket\r\n"),
    "upgrade with a body": head(
        b"Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 5\r\nX-Last: 1\r\n"
    ),
    "empty values": head(b"X-E:\r\nX-F: \t \r\n"),
    "bytes over 127": head(b"X-U: caf\xc3\xa9 \xed\xa0\x80\r\n"),
    "sixty fields": head(b"".join(b"X-%d: y\r\n" % number for number in range(60))),
    "one field of 60 KB": head(b"X-A: " + b"a" * 60000 + b"\r\n"),
    "4,000 connection tokens": head(b"Connection: " + b",".join([b"x"] * 4000) + b"\r\n"),
    "host with port": head(host=b"127.0.0.1:65535"),
    "host of IPv6": head(host=b"[::1]:8080"),
    "empty host": head(host=b""),
    "host with odd characters": head(host=b"a_b~c,*;d%2e"),
    "target of 4 KB": target(b"/p?" + b"a" * 4000),
    "escapes": target(b"/a%2Fb%20%zz%00%0d%0a%c0%af?q=%26"),
    "dots and slashes": target(b"//a/../..;/%2e%2e//x?a?b"),
    "brackets and quotes": target(b'/"<>{|}^`\\'),
    "absolute-form": target(b"http://other:80/p?q"),
    "asterisk": head(line=b"OPTIONS * HTTP/1.1"),
    "authority-form": head(line=b"CONNECT h:443 HTTP/1.1"),
}

ENCODED = {
    b"/search?q=m\xc3\xbcnchen": b"/search?q=m%C3%BCnchen",
    b"/caf\xe9": b"/caf%E9",
    b"/\x80\xff": b"/%80%FF",
    b"/a\xc2\xa0b\xc2\x85c?\xe2\x80\xa8": b"/a%C2%A0b%C2%85c?%E2%80%A8",
    b"/%c3%bc\xc3\xbc": b"/%c3%bc%C3%BC",
    b"http://h\xc3\xa4.test/\xc3\xa4": b"http://h%C3%A4.test/%C3%A4",
}
"""Targets with bytes beyond ASCII, and as they are read."""

REFUSED_CODINGS = {
    "prefix": b"Transfer-Encoding: xchunked",
    "suffix": b"Transfer-Encoding: chunkedx",
    "space before colon": b"Transfer-Encoding : chunked",
    "tab before colon": b"Transfer-Encoding\t: chunked",
    "vertical tab": b"Transfer-Encoding:\x0bchunked",
    "form feed": b"Transfer-Encoding: \x0cchunked",
    "vertical tab behind": b"Transfer-Encoding: chunked\x0b",
    "no-break space": b"Transfer-Encoding:\xa0chunked",
    "no-break space in name": b"Transfer-Encoding\xa0: chunked",
    "nul before": b"Transfer-Encoding: \0chunked",
    "nul behind": b"Transfer-Encoding: chunked\0",
    "nul in name": b"Transfer-Encoding\0: chunked",
    "byte order mark": b"\xef\xbb\xbfTransfer-Encoding: chunked",
    "LF in name": b"Transfer-Encoding\n: chunked",
    "behind a bare LF": b"X: y\nTransfer-Encoding: chunked",
    "behind a bare CR": b"X: y\rTransfer-Encoding: chunked",
    "CR CR LF": b"Transfer-Encoding: chunked\r",
    "CR in value": b"Transfer-Encoding: chu\rnked",
    "folded": b"Transfer-Encoding:\r\n chunked",
    "hidden in a fold": b"X: y\r\n Transfer-Encoding: chunked",
    "leading space": b" Transfer-Encoding: chunked",
    "quoted": b'Transfer-Encoding: "chunked"',
    "single quotes": b"Transfer-Encoding: 'chunked'",
    "parameter": b"Transfer-Encoding: chunked;q=1",
    "leading comma": b"Transfer-Encoding: ,chunked",
    "trailing comma": b"Transfer-Encoding: chunked,",
    "identity first": b"Transfer-Encoding: identity, chunked",
    "identity last": b"Transfer-Encoding: chunked, identity",
    "twice": b"Transfer-Encoding: chunked, chunked",
    "gzip first": b"Transfer-Encoding: gzip, chunked",
    "gzip": b"Transfer-Encoding: gzip",
    "identity": b"Transfer-Encoding: identity",
    "two lines": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "line of identity before": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "line of identity behind": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Kelvin sign": b"Transfer-Encoding: chun\xe2\x84\xaaed",
    "empty": b"Transfer-Encoding:",
}
"""Disguises of the chunked coding: refused alone, and beside a length in either order."""

_LENGTHS = {
    "plus": b"+5",
    "minus": b"-5",
    "minus zero": b"-0",
    "hexadecimal": b"0x5",
    "underscore": b"0_5",
    "two numbers": b"5 5",
    "point": b"5.0",
    "exponent": b"5e0",
    "semicolon": b"5;",
    "list of the same": b"5, 5",
    "list": b"5, 6",
    "empty": b"",
    "word": b"five",
    "Arabic digit": b"\xd9\xa5",
    "vertical tab": b"5\x0b",
    "nul": b"5\0",
    "no-break space": b"\xa05",
    "quoted": b'"5"',
    "over 2**63": b"9223372036854775808",
    "over 2**64": b"18446744073709551621",
    "5,000 digits": b"9" * 5000,
    "5,000 zeros": b"0" * 4999 + b"5",
    "bare CR": b"5\rX-Smuggled: 1",
    "folded": b"\r\n 5",
}

_HOSTS = {
    "space": b"a b",
    "nul": b"a\0b",
    "control": b"a\x01",
    "slash": b"a/b",
    "path": b"../../etc/x",
    "user": b"u@h",
    "port of letters": b"h:abc",
    "negative port": b"h:-1",
    "two ports": b"h:80:80",
    "port over 65535": b"h:99999",
    "open bracket": b"[::1",
    "behind a bracket": b"[::1]x",
    "zone": b"[fe80::1%25lo]",
    "bytes over 127": b"\xff\xfe",
    "quotes": b'"h"',
    "markup": b"<script>",
    "backslash": b"..\\x",
    "braces": b"{{7*7}}",
    "10,000 characters": b"h" * 10000,
}

_FIELDS = {
    "bare LF": b"X-A: b\nX-B: c",
    "bare CR in name": b"X-A\rX-B: c",
    "CR CR LF": b"X-A: b\r",
    "LF CR": b"X-A: b\n\rX-B: c",
    "CR only": b"X-A: b\r\rGET /x HTTP/1.1\r",
    "nul in value": b"X-A: b\0c",
    "nul in name": b"X-\0A: b",
    "fold": b"X-A: b\r\n c",
    "fold by tab": b"X-A: b\r\n\tc",
    "blank line of a space": b"X-A: b\r\n \r\nX-B: c",
    "no colon": b"nocolon",
    "empty name": b": v",
    "parenthesis in name": b"X(A: v",
    "at sign in name": b"X@A: v",
    "slash in name": b"X/A: v",
    "quote in name": b'X"A: v',
    "accent in name": b"X\xc3\xa9A: v",
    "delete in name": b"X\x7fA: v",
    "0x80 in name": b"X\x80A: v",
    "control in name": b"X\x01A: v",
    "bracket in name": b"X[A: v",
    "comma in name": b"X,A: v",
    "space before colon": b"Content-Length : 5",
    "control in value": b"X-A: b\x01c",
    "backspace in value": b"X-A: b\x08c",
    "vertical tab in value": b"X-A: b\x0bc",
    "form feed in value": b"X-A: b\x0cc",
    "0x1f in value": b"X-A: b\x1fc",
    "delete in value": b"X-A: b\x7fc",
    "escape sequence in value": b"User-Agent: \x1b[2J",
    "second host": b"Host: h",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 5",
    "HTTP/2 settings as a line": b"PRI * HTTP/2.0",
}

_LINES = {
    "no version": b"GET /p ",
    "version 0.9 unsaid": b"GET /p",
    "version behind": b"GET /p HTTP/1.1x",
    "version in lower case": b"GET /p http/1.1",
    "version HTTP/3": b"GET /p HTTP/3",
    "version 1.10": b"GET /p HTTP/1.10",
    "version negative": b"GET /p HTTP/-1.1",
    "wide digit": b"GET /p HTTP/1.\xef\xbc\x91",
    "ICY": b"GET /p ICY/1.1",
    "space behind": b"GET /p HTTP/1.1 ",
    "no minor": b"GET /p HTTP/1.",
    "comma": b"GET /p HTTP/1,1",
    "version 01.1": b"GET /p HTTP/01.1",
    "no method": b" /p HTTP/1.1",
    "space in method": b"GE T /p HTTP/1.1",
    "tab in method": b"G\tT /p HTTP/1.1",
    "parenthesis in method": b"G(T /p HTTP/1.1",
    "CR in method": b"GET\rX /p HTTP/1.1",
    "nul in method": b"GET\0 /p HTTP/1.1",
    "accent in method": b"G\xc3\x89T /p HTTP/1.1",
    "colon in method": b"GET: /p HTTP/1.1",
    "quoted method": b'"GET" /p HTTP/1.1',
    "two spaces": b"GET  /p HTTP/1.1",
    "tabs": b"GET\t/p HTTP/1.1",
    "leading space": b" GET /p HTTP/1.1",
    "leading nuls": b"\0\0GET /p HTTP/1.1",
    "space in target": b"GET /a b HTTP/1.1",
    "control in target": b"GET /\x01\x1f HTTP/1.1",
    "nul in target": b"GET /p\0x HTTP/1.1",
    "delete in target": b"GET /\x7f HTTP/1.1",
    "fragment": b"GET /p#frag HTTP/1.1",
    "no target": b"GET  HTTP/1.1",
    "proxy protocol": b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\nGET /p HTTP/1.1",
    "the preface of HTTP/2 as 1.1": b"PRI * HTTP/1.1",
}

REFUSED = (
    {f"coding: {name}": head(line + b"\r\n") for name, line in REFUSED_CODINGS.items()}
    | {f"length: {name}": head(b"Content-Length: %b\r\n" % n) for name, n in _LENGTHS.items()}
    | {f"host: {name}": head(host=host) for name, host in _HOSTS.items()}
    | {f"field: {name}": head(line + b"\r\n") for name, line in _FIELDS.items()}
    | {f"line: {name}": head(line=line) for name, line in _LINES.items()}
    | {
        "no host in 1.1": b"GET /p HTTP/1.1\r\n\r\n",
        "length beside chunked": head(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        "chunked beside length": head(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        "chunked in 1.0": head(b"Transfer-Encoding: chunked\r\n", line=b"POST /p HTTP/1.0"),
    }
)
"""Each is answered with 400 and a close."""

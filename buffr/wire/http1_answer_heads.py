"""Answer heads from an upstream's bytes, however they are split, with common faults repaired.

Clients tolerate servers' mistakes, and RFC 9112 allows a proxy to repair
some of them. A malformed head is rewritten with a single framing, and must
then pass the strict parser like any other: nothing ambiguous is passed on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import field, frozen

from buffr.errors import BadUpstreamAnswer
from buffr.message import ResponseHead
from buffr.wire.http1_head import END_OF_HEAD, HeadLimits, parse_response_head
from buffr.wire.known_heads import KnownHeads

__all__ = ["AnswerHeads", "AnswerRules", "repaired"]

_END = re.compile(rb"\n\r?\n")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_BARE_CR = re.compile(rb"\r(?!\n|\Z)")
_FIRST_LINE = re.compile(rb"HTTP/1\.[01] [1-9][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?\r?\n")
_PROTOCOL = b"HTTP/1."
_TLS = (b"\x15\x03", b"\x16\x03")
"""The first bytes of an alert and of a handshake (RFC 8446 5.1)."""
_SETTINGS_OF_HTTP_2 = b"\x04\0\0\0\0\0"
"""A server's first frame, after its length (RFC 9113 3.4, 4.1)."""
_LENGTH = re.compile(rb"[0-9]{1,18}")
_SPACE = b" \t"

_KNOWN_BYTES = 1 << 20

_HINT = "upstream: {lenient: true} repairs it"


@frozen
class AnswerRules:
    """How answers are read.

    ``interim`` bounds the interim answers (1xx) before an answer. ``lenient``
    enables the repairs that RFC 9112 allows to a proxy. ``peer`` names the
    sender in errors. ``known`` remembers heads that needed no repair; rules
    may share it.
    """

    head: HeadLimits = HeadLimits()
    interim: int = 32
    lenient: bool = True
    peer: str = "the upstream"
    known: KnownHeads[ResponseHead] = field(
        factory=lambda: KnownHeads(_KNOWN_BYTES), eq=False, repr=False
    )


class AnswerHeads:
    """Takes answer heads off the front of one connection's buffer.

    ``faults`` are those repaired so far. What follows them may be framed
    differently than it seems, so the connection must not be reused.
    """

    def __init__(self, rules: AnswerRules) -> None:
        self.faults: tuple[str, ...] = ()
        self._rules = rules
        self._searched = 0

    def take(self, buffer: bytes) -> tuple[ResponseHead | None, bytes]:
        """The head at the front of the buffer if it is complete, and the bytes after it.

        Without a head, pass the returned bytes again with more appended.
        Raises ``BadUpstreamAnswer`` as soon as no further byte can make it an
        answer.
        """
        rules = self._rules
        error: BadUpstreamAnswer | None = None
        end = buffer.find(END_OF_HEAD, self._searched)
        if 0 <= end <= rules.head.size_bytes:
            raw = buffer[: end + 4]
            head = rules.known.get(raw)
            if head is None or len(head.headers) > rules.head.count:
                try:
                    head = self._parsed(raw)
                except BadUpstreamAnswer as malformed:
                    head, error = None, malformed
            if head is not None:
                self._searched = 0
                return head, buffer[end + 4 :]
        self._check_protocol(buffer)
        ended = _END.search(buffer, self._searched)
        if ended is None:
            self._check_partial(buffer)
            self._searched = max(0, len(buffer) - 3)
            return None, buffer
        self._check_size(ended.start())
        # Of the whole head, too: the field with the fault may be one that a repair removes.
        self._check_no_bare_cr(buffer, 0, ended.end())
        self._searched = 0
        return self._repaired(buffer[: ended.end()], error), buffer[ended.end() :]

    def _parsed(self, raw: bytes) -> ResponseHead:
        rules = self._rules
        head = parse_response_head(raw, rules.head, rules.peer)
        rules.known.put(raw, head)
        return head

    def _repaired(self, raw: bytes, error: BadUpstreamAnswer | None) -> ResponseHead:
        """The repaired head; ``error`` is the strict parser's verdict on the original."""
        rules = self._rules
        fixed, faults = repaired(raw)
        if error is not None and not faults:
            raise error
        head = parse_response_head(fixed, rules.head, rules.peer)
        if not rules.lenient:
            raise self._refusal(faults)
        self.faults = tuple(dict.fromkeys((*self.faults, *faults)))
        return head

    def _check_size(self, size: int) -> None:
        bound = self._rules.head.size_bytes
        if size > bound:
            raise BadUpstreamAnswer(
                f"{self._rules.peer}'s head is over {bound} bytes",
                hint="limits.head_bytes sets the bound",
            )

    def _check_protocol(self, buffer: bytes) -> None:
        if _PROTOCOL.startswith(buffer) or buffer.startswith(_PROTOCOL):
            return
        peer = self._rules.peer
        if buffer.startswith(_TLS):
            raise BadUpstreamAnswer(f"{peer} answers in TLS", hint="its URL begins with https://")
        if buffer.startswith(_SETTINGS_OF_HTTP_2, 3):
            raise BadUpstreamAnswer(f"{peer} answers in HTTP/2, and not in HTTP/1")
        raise BadUpstreamAnswer(f"{peer} does not answer in HTTP/1")

    def _check_partial(self, buffer: bytes) -> None:
        self._check_size(len(buffer))
        since, peer = max(0, self._searched - 1), self._rules.peer
        self._check_no_bare_cr(buffer, since, len(buffer))
        if not self._rules.lenient and _BARE_LF.search(buffer, since):
            raise self._refusal([_LINE_END])
        if b"\n" in buffer and not _FIRST_LINE.match(buffer):
            raise BadUpstreamAnswer(f"{peer}'s status line is malformed")

    def _check_no_bare_cr(self, buffer: bytes, start: int, end: int) -> None:
        """Refuse what other readers may take for a line's end (RFC 9112 2.2)."""
        if _BARE_CR.search(buffer, start, end):
            raise BadUpstreamAnswer(f"{self._rules.peer}'s head has a bare CR")

    def _refusal(self, faults: Sequence[str]) -> BadUpstreamAnswer:
        words = ", and ".join(faults)
        return BadUpstreamAnswer(f"{self._rules.peer}'s head has {words}", hint=_HINT)


_LINE_END = "lines that end in a bare LF"
_SPACE_BEFORE_COLON = "white space before a colon"
_FOLD = "a folded field (obs-fold)"
_IDENTITY = "Transfer-Encoding: identity"
_CHUNKED_TWICE = "Transfer-Encoding: chunked more than once"
_BOTH = "both Transfer-Encoding and Content-Length"
_SAME_LENGTHS = "the same Content-Length more than once"

_Field = tuple[bytes, bytes]


def repaired(raw: bytes) -> tuple[bytes, list[str]]:
    """A head without the faults that a proxy may repair, and their names.

    ``raw`` goes up to the empty line. Other faults stay, for the strict
    parser to refuse.
    """
    faults: list[str] = []
    if raw.count(b"\n") != raw.count(b"\r\n"):
        faults.append(_LINE_END)  # RFC 9112 2.2: a recipient may take LF for a line's end
    status, *lines = [line.removesuffix(b"\r") for line in raw.split(b"\n")[:-2]]
    fields = _framed(_fields(lines, faults), faults)
    text = b"".join([b"%b%b\r\n" % field for field in fields])
    return b"%b\r\n%b\r\n" % (status, text), list(dict.fromkeys(faults))


def _fields(lines: Sequence[bytes], faults: list[str]) -> list[_Field]:
    """Names, each with what follows: a colon and the value, or nothing if there is no colon."""
    fields: list[_Field] = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and fields:
            # RFC 9112 5.2: each fold becomes a space before the value is read.
            name, rest = fields[-1]
            fields[-1] = (name, b"%b %b" % (rest.rstrip(_SPACE), line.strip(_SPACE)))
            faults.append(_FOLD)
            continue
        name, colon, value = line.partition(b":")
        bare = name.rstrip(_SPACE) if colon else name
        if bare != name:
            faults.append(_SPACE_BEFORE_COLON)  # RFC 9112 5.1: a proxy removes it from an answer
        fields.append((bare, colon + value))
    return fields


def _framed(fields: list[_Field], faults: list[str]) -> list[_Field]:
    """The fields with a single framing (RFC 9112 6.3), if they allow only one."""
    codings = _listed(fields, b"transfer-encoding")
    left = [coding for coding in codings if coding.lower() != b"identity"]
    if len(left) < len(codings):
        faults.append(_IDENTITY)  # in RFC 2616 3.6, the name for no coding
        fields = _with(fields, b"transfer-encoding", b", ".join(left))
    if left and all(coding.lower() == b"chunked" for coding in left):
        if len(left) > 1:
            faults.append(_CHUNKED_TWICE)  # clients that accept such answers decode it once
            fields = _with(fields, b"transfer-encoding", left[0])
        if any(name.lower() == b"content-length" for name, _ in fields):
            faults.append(_BOTH)  # rule 3: a proxy removes the length
            fields = _with(fields, b"content-length", b"")
    lengths = _listed(fields, b"content-length")
    if len(lengths) > 1 and len(set(lengths)) == 1 and _LENGTH.fullmatch(lengths[0]):
        faults.append(_SAME_LENGTHS)  # rule 5
        fields = _with(fields, b"content-length", lengths[0])
    return fields


def _listed(fields: Sequence[_Field], wanted: bytes) -> list[bytes]:
    """The members of a list field (RFC 9110 5.6.1), in one field line or several."""
    values = [rest[1:] for name, rest in fields if name.lower() == wanted]
    return [member.strip(_SPACE) for value in values for member in value.split(b",")]


def _with(fields: Sequence[_Field], wanted: bytes, value: bytes) -> list[_Field]:
    """The fields with a single one of a name, where the first was; none if ``value`` is empty."""
    left: list[_Field] = []
    for each in fields:
        if each[0].lower() != wanted:
            left.append(each)
        elif value:
            left.append((each[0], b": " + value))
            value = b""
    return left

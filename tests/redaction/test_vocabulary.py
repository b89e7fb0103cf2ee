"""Names whose values are never redacted, whatever the values look like."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from re import _parser  # type: ignore[attr-defined]  # its parse tree is documented nowhere else
from typing import Any

import pytest

from buffr.interaction import Body, HTTPInteraction, RecordedRequest
from buffr.message import ResponseHead
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules
from buffr.redaction.vocabulary import NEVER, Sense, is_never, sense_of
from buffr.stores.cassette.format import encode

RANDOM = b"Zk9xQ2mW7vR4tB8nL1pD6sH3"


def spelled(tree: Any) -> Iterator[str]:
    """Every name that a pattern's alternatives give, with a word or nothing for ``.*``."""
    for parts in product(*[list(_spelled(str(kind), of)) for kind, of in tree]):
        yield "".join(parts)


def _spelled(kind: str, of: Any) -> Iterator[str]:
    match kind:
        case "LITERAL":
            yield chr(of)
        case "SUBPATTERN":
            yield from spelled(of[-1])
        case "BRANCH":
            for each in of[1]:
                yield from spelled(each)
        case "MAX_REPEAT":
            least, _, repeated = of
            if least == 0:
                yield ""
            yield from spelled(repeated)
        case "ANY":
            yield "acme"
        case "ASSERT_NOT":
            yield ""
        case _:
            raise AssertionError(kind)


NAMES = {
    pattern: [name for name in spelled(_parser.parse(pattern)) if not name.endswith("-")]
    for pattern in NEVER
}
ALL = sorted({name for names in NAMES.values() for name in names})


def exchange(name: str) -> HTTPInteraction:
    """A value that looks random in a header field, a query and a JSON member of that name."""
    as_header = "-".join(word.capitalize() for word in name.split("-")).encode()
    as_field = name.replace("-", "_")
    first, *others = name.split("-")
    as_member = first + "".join(other.capitalize() for other in others)
    headers = ((as_header, RANDOM), (b"X-" + as_header, RANDOM))
    body = json.dumps({name: RANDOM.decode() for name in (as_field, as_member)}).encode()
    target = b"/p?%b=%b&%b=%b" % (as_field.encode(), RANDOM, as_member.encode(), RANDOM)
    return HTTPInteraction(
        RecordedRequest(b"POST", target, headers, Body.of(body)),
        ResponseHead(200, b"OK", headers),
        Body.of(body),
    )


class TestNever:
    @pytest.mark.parametrize("pattern", NEVER)
    def test_every_pattern_has_names(self, pattern: str) -> None:
        assert NAMES[pattern]

    @pytest.mark.parametrize("before", [b"", b"x-", b"X-"])
    def test_every_name_is_one(self, before: bytes) -> None:
        names = [before + name.encode() for name in ALL]
        assert [name for name in names if not is_never(name)] == []
        assert [name for name in names if sense_of(name) is not Sense.NOTHING] == []

    def test_none_is_touched(self) -> None:
        redactor = Redactor(RedactionRules(), b"salt")
        exchanges = {name: exchange(name) for name in ALL}
        touched = [
            name
            for name, one in exchanges.items()
            if encode(redactor.interaction(one)) != encode(one)
        ]
        assert touched == []

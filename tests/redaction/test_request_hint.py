"""The operation of a request, found without reading bodies that name none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from buffr.redaction.request_hint import hint_of, operation_in
from buffr.redaction.rules import RedactionRules

RULES = RedactionRules()
NAMES = ('"operationName"', '"operation\\u004eame"', '"method"', '"jsonrpc"', '"q"', '"password"')
VALUES = ('"Ask"', '"2.0"', "null", "1", '"hunter2hunter2"')
MEMBERS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=4)
FIELDS = st.lists(st.sampled_from(("Action=Ask", "Actio%6e=Ask", "q=Action", "Action")), max_size=3)
BODIES = st.one_of(
    MEMBERS.map(lambda each: "{" + ",".join([":".join(pair) for pair in each]) + "}"),
    FIELDS.map("&".join),
).map(str.encode)
TYPES = (b"application/json", b"application/x-www-form-urlencoded", b"text/plain")


class TestOperation:
    @given(BODIES, st.sampled_from(TYPES), st.booleans())
    def test_it_is_that_of_the_hint(self, body: bytes, media_type: bytes, named: bool) -> None:
        operation = ((b"X-Amz-Target", b"Db.Put"),) if named else ()
        headers = ((b"Content-Type", media_type), *operation)
        hint = hint_of(b"/", headers, body, RULES)
        assert operation_in(b"/", headers, body, RULES) == hint.operation

    def test_there_are_some(self) -> None:
        body = b'{"operation\\u004eame": "Ask"}'
        assert operation_in(b"/", ((b"Content-Type", TYPES[0]),), body, RULES) == "Ask"

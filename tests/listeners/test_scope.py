"""The header that names a scope, and what is left of its request."""

from __future__ import annotations

import pytest

from buffr.errors import BadRequest
from buffr.listeners.scope import scoped
from buffr.message import Request


def named(*values: bytes) -> Request:
    return Request(b"GET", b"/", tuple((b"X-Buffr-Scope", value) for value in values))


class TestScoped:
    def test_the_header_is_taken_off(self) -> None:
        """Whatever its case; all other fields stay."""
        fields = ((b"A", b"1"), (b"x-BUFFR-scope", b"test-1"), (b"B", b"2"))
        request, scope = scoped(Request(b"GET", b"/", fields), "user")
        assert scope == "test-1"
        assert request.headers == ((b"A", b"1"), (b"B", b"2"))

    def test_without_it_the_other_scope_counts(self) -> None:
        request = named()
        assert scoped(request, "user") == (request, "user")
        assert scoped(request)[1] == ""

    def test_one_head_is_one_request(self) -> None:
        """What is remembered of a head is remembered of it without its scope."""
        request = named(b"a")
        assert scoped(request)[0] is scoped(request)[0]

    @pytest.mark.parametrize(
        "values", [(b"",), (b"a" * 65,), (b"a b",), (b"../x",), (b"\xc3\xa4",), (b"a", b"a")]
    )
    def test_no_scope(self, values: tuple[bytes, ...]) -> None:
        with pytest.raises(BadRequest, match="X-Buffr-Scope"):
            scoped(named(*values))

"""A body that was searched while it arrived is not searched again, unless it has to be."""

from __future__ import annotations

import gzip
from hashlib import sha256
from pathlib import Path

import pytest
from attrs import evolve

from buffr.interaction import Body, HTTPInteraction, RecordedRequest, Searched
from buffr.message import Headers, ResponseHead
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules

PLAIN = b'{"words": "' + b"some words " * 200_000 + b'"}'
SESSION = b"8f14e45fceea167a5a36dedd4bea2543"
GONE = Path("/nonexistent")
REDACTOR = Redactor(RedactionRules(), b"salt")


def searched(
    body: bytes,
    redactor: Redactor = REDACTOR,
    request: RecordedRequest | None = None,
    headers: Headers = (),
) -> Searched | None:
    head = ResponseHead(200, b"OK", headers)
    search = redactor.answer_search(request or RecordedRequest(b"GET", b"/"), head)
    return search.over(body[at : at + 100_000] for at in range(0, len(body), 100_000))


def recorded(body: bytes, known: Searched | None, token: bytes = b"") -> HTTPInteraction:
    """With a body whose file is not there: to read it would be an error."""
    headers = ((b"Authorization", b"Bearer " + token),) if token else ()
    kept = Body(size_bytes=len(body), file=GONE, searched=known)
    return HTTPInteraction(
        RecordedRequest(b"GET", b"/", headers), ResponseHead(200, b"OK", ()), kept
    )


class TestSearched:
    def test_nothing_is_read_again(self) -> None:
        known = searched(PLAIN)
        assert known is not None
        assert known.sha256 == sha256(PLAIN).hexdigest()
        assert known.size_bytes == len(PLAIN)
        interaction = REDACTOR.interaction(recorded(PLAIN, known))
        assert isinstance(interaction, HTTPInteraction)
        assert interaction.body.searched is known

    def test_under_any_salt(self) -> None:
        Redactor(RedactionRules(), b"other").interaction(recorded(PLAIN, searched(PLAIN)))

    @pytest.mark.parametrize("at", [0, 1_000_000, len(PLAIN)])
    def test_a_secret_anywhere_leaves_it_to_the_next_search(self, at: int) -> None:
        body = PLAIN[:at] + b' "api_key": "sk-proj-0123456789abcdefABCDEF012345" ' + PLAIN[at:]
        assert searched(body) is None

    def test_so_does_a_secret_of_the_request(self) -> None:
        body = PLAIN + SESSION
        request = RecordedRequest(b"GET", b"/", ((b"Authorization", b"Bearer " + SESSION),))
        assert searched(body) is not None
        assert searched(body, request=request) is None


class TestSearchedOtherwise:
    """What was searched for something else, or not at all, is searched again."""

    def test_with_other_secrets(self) -> None:
        with pytest.raises(FileNotFoundError):
            REDACTOR.interaction(recorded(PLAIN, searched(PLAIN), SESSION))

    def test_with_other_rules(self) -> None:
        other = Redactor(RedactionRules.with_extra(patterns=["words"]), b"salt")
        with pytest.raises(FileNotFoundError):
            other.interaction(recorded(PLAIN, searched(PLAIN)))

    def test_as_another_type(self) -> None:
        known = searched(PLAIN, headers=((b"Content-Type", b"multipart/form-data; boundary=a"),))
        with pytest.raises(FileNotFoundError):
            REDACTOR.interaction(recorded(PLAIN, known))

    def test_without_redaction(self) -> None:
        known = searched(PLAIN, Redactor(RedactionRules(enabled=False), b"salt"))
        assert known is not None
        with pytest.raises(FileNotFoundError):
            REDACTOR.interaction(recorded(PLAIN, known))

    @pytest.mark.parametrize("named", [True, False])
    def test_under_a_coding(self, *, named: bool) -> None:
        """It would have to be decoded first."""
        body = gzip.compress(PLAIN)
        known = searched(body, headers=((b"Content-Encoding", b"gzip"),) if named else ())
        assert known is not None
        assert known.sha256 == sha256(body).hexdigest()
        assert known.manner is None

    def test_for_paths_in_documents(self) -> None:
        known = searched(PLAIN, Redactor(RedactionRules.with_extra(json=["$.words"]), b"salt"))
        assert known is not None
        assert known.manner is None


def test_a_body_of_other_bytes_has_no_digest() -> None:
    """What a hook, or a redaction, makes of a body was not searched."""
    body = Body(size_bytes=3, file=GONE, searched=searched(PLAIN))
    assert Body.of(b"abc").searched is None
    assert evolve(body, key=None).searched is body.searched

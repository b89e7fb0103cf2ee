"""How other tools compare requests: the presets of ``match``."""

from __future__ import annotations

import pytest

from buffr.interaction import Body, IndexEntry, RecordedRequest
from buffr.matching.matcher import Matcher
from buffr.matching.rules import ALL_PARTS, PRESETS, MatchRules
from buffr.message import Headers, Request
from buffr.origin import Origin

ORIGIN = Origin("https", "api.example.com", 443)


def matcher(preset: str, **rules: object) -> Matcher:
    chosen = PRESETS[preset]
    values = {
        "on": chosen.on,
        "query_pairs": chosen.query_pairs,
        "bodiless": chosen.bodiless,
        **rules,
    }
    return Matcher(MatchRules(**values), with_origin=True)  # type: ignore[arg-type]


def answers(
    how: Matcher, recorded: Request, live: Request, *, old: bytes = b"", new: bytes = b""
) -> bool:
    """Whether the recording of one request answers another one."""
    kept = RecordedRequest(
        recorded.method,
        recorded.target,
        recorded.headers,
        Body.of(old),
        ORIGIN.scheme,
        ORIGIN.host,
        ORIGIN.port,
    )
    filed = how.recorded_key(IndexEntry(kept, ()))
    identity = how.live(live, new, ORIGIN)
    found = filed.digest in [key.digest for key in identity.keys]
    return found and not identity.selecting.differences(filed.variant)


def asked(target: bytes, headers: Headers = (), method: bytes = b"POST") -> Request:
    return Request(method, target, headers)


class TestOneRow:
    @pytest.mark.parametrize(("preset", "rows"), [("vcr", 1), ("har", 1), ("buffr", 2)])
    def test_a_preset_without_headers_knows_no_variants(self, preset: str, rows: int) -> None:
        """An answer in JSON and a stream to the same request are replayed one after the other."""
        how = matcher(preset)
        kept = RecordedRequest(b"GET", b"/x", ((b"Accept", b"a/b"),))
        types = (b"application/json", b"text/event-stream")
        answers = [((b"Content-Type", kind),) for kind in types]
        filed = [how.recorded_key(IndexEntry(kept, answer)) for answer in answers]
        names = {(each.digest, each.variant and each.variant.name) for each in filed}
        assert len(names) == rows


class TestVcr:
    @pytest.mark.parametrize(
        ("recorded", "live"),
        [
            (b"/x?a=1&b=2", b"/x?b=2&a=1"),
            (b"/x?a=2&a=1", b"/x?a=1&a=2"),
            (b"/x?a=b+c", b"/x?a=b%20c"),
            (b"/x?a=&b", b"/x"),
            (b"/x?", b"/x"),
        ],
    )
    def test_query_is_sorted_decoded_pairs(self, recorded: bytes, live: bytes) -> None:
        """As ``sorted(parse_qsl(query))`` has them: without fields that have no value."""
        assert answers(matcher("vcr"), asked(recorded), asked(live))
        assert not answers(matcher("buffr"), asked(recorded), asked(live))

    @pytest.mark.parametrize(
        ("recorded", "live"),
        [(b"/x?a=1", b"/x?a=2"), (b"/x?a=1", b"/x?a=1&a=1"), (b"/x", b"/y"), (b"/x", b"/X")],
    )
    def test_path_and_values_count(self, recorded: bytes, live: bytes) -> None:
        assert not answers(matcher("vcr"), asked(recorded), asked(live))

    def test_method_counts(self) -> None:
        how = matcher("vcr")
        assert not answers(how, asked(b"/x", method=b"GET"), asked(b"/x", method=b"HEAD"))

    def test_neither_body_nor_headers_count(self) -> None:
        """A patch of another type, a range, a version and a body of other words: one request."""
        old = asked(b"/x", ((b"Content-Type", b"application/json"),), b"PATCH")
        new = asked(
            b"/x",
            (
                (b"Content-Type", b"application/merge-patch+json"),
                (b"Range", b"bytes=0-1"),
                (b"Stripe-Version", b"2024"),
                (b"X-Amz-Target", b"Other"),
            ),
            b"PATCH",
        )
        assert answers(matcher("vcr"), old, new, old=b"{}", new=b'{"a": 1}')
        assert not answers(matcher("buffr"), old, new, old=b"{}", new=b"{}")

    def test_fields_that_settings_add_count(self) -> None:
        how = matcher("vcr", header=("x-tenant",))
        old, new = asked(b"/x", ((b"X-Tenant", b"a"),)), asked(b"/x", ((b"X-Tenant", b"b"),))
        assert answers(how, old, old)
        assert not answers(how, old, new)

    def test_dummy_credentials_replay(self) -> None:
        """Credentials stay a constant, in queries too."""
        old = asked(b"/x?b=1&api_key=REDACTED-api-key")
        assert answers(matcher("vcr"), old, asked(b"/x?api_key=dummy&b=1"))


class TestHar:
    def test_body_counts_where_the_recording_has_one(self) -> None:
        """Tools that write HAR leave bodies out that are not text."""
        how = matcher("har")
        assert answers(how, asked(b"/x"), asked(b"/x"), old=b"a", new=b"a")
        assert not answers(how, asked(b"/x"), asked(b"/x"), old=b"a", new=b"b")
        assert answers(how, asked(b"/x"), asked(b"/x"), old=b"", new=b"b")

    def test_query_counts_as_sent_and_headers_do_not(self) -> None:
        how = matcher("har")
        assert not answers(how, asked(b"/x?a=1&b=2"), asked(b"/x?b=2&a=1"))
        assert answers(how, asked(b"/x", ((b"Range", b"bytes=0-1"),)), asked(b"/x"))


class TestParts:
    @pytest.mark.parametrize("part", sorted(ALL_PARTS - {"headers"}))
    def test_a_part_that_does_not_count(self, part: str) -> None:
        """Each part alone: a request that differs in it is another one unless it is left out."""
        old, body = asked(b"/x?a=1"), b"old"
        new, origin, now = old, ORIGIN, body
        match part:
            case "method":
                new = asked(b"/x?a=1", method=b"PUT")
            case "scheme":
                origin = Origin("http", "api.example.com", 443)
            case "host":
                origin = Origin("https", "other.example.com", 443)
            case "port":
                origin = Origin("https", "api.example.com", 8443)
            case "path":
                new = asked(b"/y?a=1")
            case "query":
                new = asked(b"/x?a=2")
            case "body":
                now = b"new"
        kept = RecordedRequest(
            b"POST", old.target, (), Body.of(body), ORIGIN.scheme, ORIGIN.host, ORIGIN.port
        )
        found = []
        for on in (ALL_PARTS, ALL_PARTS - {part}):
            how = matcher("buffr", on=on)
            filed = how.recorded_key(IndexEntry(kept, ())).digest
            found.append(filed in [key.digest for key in how.live(new, now, origin).keys])
        assert found == [False, True]

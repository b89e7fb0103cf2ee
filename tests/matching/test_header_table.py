"""The table of header fields: each in one class, and printed in the docs."""

from __future__ import annotations

from pathlib import Path

import pytest

from buffr.matching.header_docs import with_table
from buffr.matching.header_table import TABLE, HeaderClass, class_of, tells_flights_apart

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "matching.md"


class TestClasses:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            (b"x-amz-target", HeaderClass.IDENTITY),
            (b"soapaction", HeaderClass.IDENTITY),
            (b"x-http-method-override", HeaderClass.IDENTITY),
            (b"last-event-id", HeaderClass.IDENTITY),
            (b"stripe-account", HeaderClass.IDENTITY),
            (b"x-amz-copy-source", HeaderClass.IDENTITY),
            (b"x-amz-meta-owner", HeaderClass.IDENTITY),
            (b"x-amzn-sagemaker-target-model", HeaderClass.IDENTITY),
            (b"x-ms-copy-source", HeaderClass.IDENTITY),
            (b"access-control-request-method", HeaderClass.OPTIONS),
            (b"anthropic-beta", HeaderClass.VARIANT),
            (b"x-ms-version", HeaderClass.VARIANT),
            (b"openai-organization", HeaderClass.VARIANT),
            (b"accept", HeaderClass.NEGOTIATED),
            (b"x-unknown", HeaderClass.NEGOTIATED),
            (b"authorization", HeaderClass.PRIVATE),
            (b"accept-encoding", HeaderClass.PRIVATE),
            (b"idempotency-key", HeaderClass.PRIVATE),
            (b"x-amz-date", HeaderClass.NOISE),
            (b"x-amz-checksum-crc32", HeaderClass.NOISE),
            (b"amz-sdk-invocation-id", HeaderClass.NOISE),
            (b"x-stainless-retry-count", HeaderClass.NOISE),
            (b"traceparent", HeaderClass.NOISE),
            (b"sec-fetch-mode", HeaderClass.NOISE),
            (b"x-" + b"long" * 40, HeaderClass.NEGOTIATED),
        ],
    )
    def test_classes(self, name: bytes, expected: HeaderClass) -> None:
        assert class_of(name) is expected
        assert class_of(name) is expected, "and the second time, too"

    def test_every_name_occurs_once(self) -> None:
        """In two rows one of them would say nothing."""
        names = [name for row in TABLE for name in row.names]
        assert sorted(set(names)) == sorted(names)

    def test_names_are_in_lower_case(self) -> None:
        assert all(name == name.lower() for row in TABLE for name in row.names)

    def test_noise_alone_lets_flights_join(self) -> None:
        assert not tells_flights_apart(b"user-agent")
        assert tells_flights_apart(b"idempotency-key")
        assert tells_flights_apart(b"x-unknown")


class TestPage:
    def test_the_committed_page_has_the_table(self) -> None:
        """``make docs-reference`` writes it."""
        page = PAGE.read_text("utf-8")
        assert with_table(page) == page

    def test_a_page_without_marks(self) -> None:
        with pytest.raises(ValueError, match="no markers"):
            with_table("# Matching\n")

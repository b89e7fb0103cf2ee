"""Errors in the form that each kind of client shows."""

from __future__ import annotations

import json
from urllib.parse import unquote
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.errors import BuffrError, NoMatch, RateLimited, UpstreamFailed
from buffr.listeners.error_answer import Form, error_answer, form_of
from buffr.message import Headers, Request

SCOPE = b"AWS4-HMAC-SHA256 Credential=AKIA/20261128/us-east-1/%b/aws4_request, SignedHeaders=host"
FORM = (b"Content-Type", b"application/x-www-form-urlencoded; charset=utf-8")


def request(*headers: tuple[bytes, bytes], target: bytes = b"/") -> Request:
    return Request(b"POST", target, headers)


def signed(service: bytes, *others: tuple[bytes, bytes]) -> Request:
    return request((b"Authorization", SCOPE % service), *others)


def miss(explanation: str = "") -> NoMatch:
    error = NoMatch("nothing matches <POST> & co", hint="record it")
    error.explanation = explanation
    error.details = {"nearest": []}
    return error


def text_of(form_request: Request, error: BuffrError) -> str:
    return error_answer(error, form_request)[1].decode()


class TestDetails:
    def test_written_by_whoever_has_them_as_text(self) -> None:
        """The answer is the same, byte for byte."""
        error, asked = miss(), request((b"Accept", b"application/json"))
        expected = text_of(asked, error)
        assert json.loads(expected)["nearest"] == []
        error.details_json = lambda: json.dumps(error.details)
        assert text_of(asked, error) == expected


class TestForm:
    @pytest.mark.parametrize(
        ("headers", "form"),
        [
            ((), Form.TEXT),
            (((b"Accept", b"*/*"),), Form.TEXT),
            (((b"Accept", b"text/html,application/xhtml+xml,application/xml;q=0.9"),), Form.TEXT),
            (((b"Accept", b"application/json"),), Form.JSON),
            (((b"Accept", b"application/vnd.github+json"),), Form.JSON),
            (
                ((b"Accept", b"text/event-stream"), (b"content-type", b"application/json")),
                Form.JSON,
            ),
            (((b"Content-Type", b"application/json; charset=utf-8"),), Form.JSON),
            (((b"Stripe-Version", b"2026-10-28"), (b"Accept", b"*/*"), FORM), Form.JSON),
            (((b"X-Fern-Language", b"Python"), (b"Accept", b"*/*")), Form.JSON),
            (((b"Accept", b"application/xml"), (b"x-ms-version", b"2026-02-06")), Form.XML),
            (((b"Content-Type", b"text/xml"),), Form.XML),
            (((b"Content-Type", b"text/xml"), (b"SOAPAction", b'"urn:x"')), Form.SOAP_1_1),
            (((b"Content-Type", b'application/soap+xml; action="urn:x"'),), Form.SOAP_1_2),
            ((FORM,), Form.TEXT),
        ],
    )
    def test_by_what_a_client_sends_and_accepts(self, headers: Headers, form: Form) -> None:
        assert form_of(request(*headers)) is form

    @pytest.mark.parametrize(
        ("sent", "form"),
        [
            (signed(b"s3"), Form.XML),
            (signed(b"s3express"), Form.XML),
            (signed(b"route53"), Form.AWS_QUERY),
            (signed(b"sts", FORM), Form.AWS_QUERY),
            (signed(b"ec2", FORM), Form.AWS_EC2),
            (signed(b"lambda"), Form.AWS_JSON),
            (signed(b"sqs", (b"X-Amz-Target", b"AmazonSQS.ListQueues")), Form.AWS_JSON),
            (signed(b"sqs", (b"Smithy-Protocol", b"rpc-v2-cbor")), Form.AWS_CBOR),
            (request((b"Authorization", b"AWS AKIA:c2ln")), Form.XML),
            (request((b"amz-sdk-invocation-id", b"1")), Form.XML),
            (request((b"amz-sdk-invocation-id", b"1"), FORM), Form.AWS_QUERY),
            (
                request((b"amz-sdk-invocation-id", b"1"), (b"Authorization", b"Bearer x")),
                Form.AWS_JSON,
            ),
            (
                request(
                    target=b"/b/k?X-Amz-Credential=AKIA%2F20261128%2Fus-east-1%2Fs3%2Faws4_request"
                ),
                Form.XML,
            ),
            (
                request(
                    target=b"/?Action=GetCallerIdentity&Version=2011-06-15&"
                    b"X-Amz-Credential=AKIA%2F20261128%2Fus-east-1%2Fsts%2Faws4_request"
                ),
                Form.AWS_QUERY,
            ),
            (request(target=b"/b/k?AWSAccessKeyId=AKIA&Signature=x&Expires=1"), Form.XML),
        ],
    )
    def test_by_the_service_of_aws(self, sent: Request, form: Form) -> None:
        assert form_of(sent) is form

    def test_a_sigv4a_scope_has_no_region(self) -> None:
        scope = b"AWS4-ECDSA-P256-SHA256 Credential=AKIA/20261128/s3/aws4_request, SignedHeaders=x"
        assert form_of(request((b"Authorization", scope))) is Form.XML


class TestAnswer:
    def test_json_has_what_sdks_show_beside_what_programs_read(self) -> None:
        head, body = error_answer(miss("near\n"), request((b"Accept", b"application/json")))
        assert (head.status, head.reason) == (599, b"No Recorded Interaction")
        assert (b"Content-Type", b"application/json") in head.headers
        assert json.loads(body) == {
            "error": {
                "message": "buffr: nothing matches <POST> & co; record it\nnear",
                "type": "buffr_error",
                "code": "no_match",
            },
            "message": "buffr: nothing matches <POST> & co; record it\nnear",
            "hint": "record it",
            "nearest": [],
        }

    def test_long_explanations_are_cut_in_the_message(self) -> None:
        """SDKs put it into their exceptions, whole."""
        page = json.loads(text_of(request((b"Accept", b"application/json")), miss("line\n" * 60)))
        assert page["error"]["message"].splitlines()[1:] == 12 * ["line"] + ["..."]

    def test_json_of_aws(self) -> None:
        head, body = error_answer(miss(), signed(b"dynamodb", (b"X-Amz-Target", b"D.ListTables")))
        assert (b"x-amzn-ErrorType", b"NoRecordedInteraction") in head.headers
        page = json.loads(body)
        assert page["__type"] == "NoRecordedInteraction"
        assert page["message"] == "buffr: nothing matches <POST> & co; record it"

    def test_cbor_of_aws(self) -> None:
        """A map of two texts, short and long ones."""
        head, body = error_answer(miss("é" * 100), request((b"smithy-protocol", b"rpc-v2-cbor")))
        assert (b"smithy-protocol", b"rpc-v2-cbor") in head.headers
        words = f"buffr: nothing matches <POST> & co; record it\n{'é' * 100}".encode()
        assert body == (
            b"\xa2\x66__type\x75NoRecordedInteraction\x67message\x7a"
            + len(words).to_bytes(4, "big")
            + words
        )

    @pytest.mark.parametrize(
        ("sent", "message"),
        [
            (signed(b"s3"), "./Message"),
            (signed(b"sts", FORM), "./Error/Message"),
            (signed(b"ec2", FORM), "./Errors/Error/Message"),
            (request((b"SOAPAction", b"x")), ".//faultstring"),
            (
                request((b"Content-Type", b"application/soap+xml")),
                ".//{http://www.w3.org/2003/05/soap-envelope}Text",
            ),
        ],
    )
    def test_xml(self, sent: Request, message: str) -> None:
        text = text_of(sent, miss())
        assert fromstring(text).findtext(message) == "buffr: nothing matches <POST> & co; record it"
        assert "NoRecordedInteraction" in text

    @given(st.text(), st.sampled_from([Form.XML, Form.AWS_QUERY]))
    def test_xml_is_well_formed_whatever_the_words_are(self, words: str, form: Form) -> None:
        sent = signed(b"s3") if form is Form.XML else signed(b"sts", FORM)
        error = NoMatch(words.encode("utf-8", "replace").decode())
        assert fromstring(text_of(sent, error)) is not None

    def test_text_for_people(self) -> None:
        assert text_of(request(), miss("near\n")) == (
            "buffr: nothing matches <POST> & co; record it\nnear\n"
        )

    def test_a_client_is_told_not_to_try_again(self) -> None:
        head, _ = error_answer(miss(), request())
        assert {(b"X-Should-Retry", b"false"), (b"Stripe-Should-Retry", b"false")} <= set(
            head.headers
        )

    @pytest.mark.parametrize(
        ("error", "status"),
        [(miss("near"), b"9"), (UpstreamFailed("no"), b"14"), (RateLimited("slow", 1, ()), b"8")],
    )
    def test_grpc(self, error: BuffrError, status: bytes) -> None:
        """Clients read no other status than gRPC's, and show its message."""
        head, body = error_answer(error, request((b"Content-Type", b"application/grpc+proto")))
        fields = dict(head.headers)
        assert (head.status, body, fields[b"grpc-status"]) == (200, b"", status)
        assert error.message in unquote(fields[b"grpc-message"].decode())

    def test_grpc_in_a_head_of_bounded_size(self) -> None:
        error = miss("é\n" * 9000)
        head, _ = error_answer(error, request((b"Content-Type", b"application/grpc")))
        message = dict(head.headers)[b"grpc-message"]
        assert len(message) <= 6000
        assert message.isascii()
        assert message.decode().isprintable()

"""buffr's errors as answers, in the form that the client's API uses for errors.

SDKs show an error's message only if it has the form of their API, so the
form is chosen by what the request shows of the API.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import Enum
from urllib.parse import quote, unquote_to_bytes
from xml.sax.saxutils import escape

from buffr.errors import BuffrError
from buffr.formats.grpc import END_OF_STREAM, framed, is_grpc_type
from buffr.message import Headers, Request, ResponseHead, media_type

__all__ = ["Form", "error_answer", "error_end", "form_of"]


class Form(Enum):
    """How an API writes its errors."""

    TEXT = "text"
    JSON = "json"
    AWS_JSON = "aws json"
    """AWS JSON 1.0 and 1.1, and REST with JSON."""
    AWS_CBOR = "aws cbor"
    """Smithy RPC v2 CBOR."""
    AWS_QUERY = "aws query"
    """The AWS query protocol; Route 53 and CloudFront, too."""
    AWS_EC2 = "aws ec2"
    SOAP_1_1 = "soap 1.1"
    SOAP_1_2 = "soap 1.2"
    GRPC = "grpc"
    """A status in trailers, which are the whole answer; gRPC-Web, too."""
    CONNECT = "connect"
    """A code and a message in JSON."""
    CONNECT_STREAM = "connect stream"
    """The same in a message that ends the stream."""
    XML = "xml"
    """S3, Azure Storage, and other clients that read XML."""


_MEDIA_TYPES = {
    Form.TEXT: b"text/plain; charset=utf-8",
    Form.CONNECT: b"application/json",
    Form.JSON: b"application/json",
    Form.AWS_JSON: b"application/json",
    Form.AWS_CBOR: b"application/cbor",
    Form.AWS_QUERY: b"text/xml",
    Form.AWS_EC2: b"text/xml",
    Form.SOAP_1_1: b"text/xml; charset=utf-8",
    Form.SOAP_1_2: b"application/soap+xml; charset=utf-8",
    Form.XML: b"application/xml",
}

_GRPC_UNKNOWN = 2
_GRPC_STATUS = {
    400: 13,
    401: 16,
    403: 7,
    404: 12,
    408: 4,
    429: 8,
    502: 14,
    503: 14,
    504: 14,
    599: 9,
}
"""Of gRPC's statuses, the one that clients treat as they should treat this of HTTP."""
_CONNECT_CODES = {
    _GRPC_UNKNOWN: "unknown",
    4: "deadline_exceeded",
    7: "permission_denied",
    8: "resource_exhausted",
    9: "failed_precondition",
    12: "unimplemented",
    13: "internal",
    14: "unavailable",
    16: "unauthenticated",
}
"""Connect's names for them: https://connectrpc.com/docs/protocol#error-codes."""
_MOST_GRPC_BYTES = 2000
"""A head of over 8 KiB is refused by clients, and a byte may take three."""
_SAFE_IN_GRPC = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")

_TYPE = "buffr_error"
_MOST_LINES = 12
"""The most lines of an explanation in a message, which SDKs put into their exceptions."""

_JSON = re.compile(rb"\b(?:application/json|[\w.-]+\+json|application/x-ndjson)\b")
_XML = re.compile(rb"\b(?:application|text)/(?:[\w.-]+\+)?xml\b")
_FORM = b"application/x-www-form-urlencoded"
_GRPC_WEB = b"application/grpc-web"
_CONNECT_STREAMS = b"application/connect+"
_OF_JSON_APIS = (
    b"stripe-version",
    b"x-fern-language",
    b"x-goog-api-client",
    b"x-goog-api-key",
    b"x-stainless-lang",
)
"""Fields of SDKs that read only JSON, even if ``Accept`` does not say so."""

# AWS4-HMAC-SHA256 has a region in its scope, AWS4-ECDSA-P256-SHA256 has none.
_AWS_SCOPE = re.compile(
    rb"(?:Credential=)[^/,&\s]+/[0-9]{8}/(?:[^/,&\s]*/)?([A-Za-z0-9-]+)/aws4_request"
)
_SIGNED_FOR_S3 = re.compile(rb"AWS [^\s:]+:|GOOG[14][ -]")
_S3_IN_QUERY = re.compile(rb"[?&](?:AWSAccessKeyId|GoogleAccessId|X-Goog-Credential)=")
_ACTION_IN_QUERY = re.compile(rb"(?:^|&)Action=")
_REST_XML = frozenset((b"route53", b"cloudfront"))
_UNKNOWN = b""


def error_answer(error: BuffrError, request: Request) -> tuple[ResponseHead, bytes]:
    """The head and the body of the answer that reports an error."""
    form = form_of(request)
    if form is Form.GRPC:
        return ResponseHead(200, b"OK", _grpc_fields(error, request)), b""
    if form is Form.CONNECT_STREAM:
        body = _connect_end(error)
        framing = (b"content-type", _asked_type(request)), (b"content-length", b"%d" % len(body))
        return ResponseHead(200, b"OK", (*framing, *error.headers)), body
    body = _body(form, error)
    fields = (
        (b"Content-Type", _MEDIA_TYPES[form]),
        (b"Content-Length", b"%d" % len(body)),
        *error.headers,
    )
    if form is Form.AWS_JSON:
        fields += ((b"x-amzn-ErrorType", _name(error).encode()),)
    elif form is Form.AWS_CBOR:
        # Without this field botocore reads no CBOR.
        fields += ((b"smithy-protocol", b"rpc-v2-cbor"),)
    return ResponseHead(error.status, error.reason, fields), body


def error_end(error: BuffrError, request: Request) -> tuple[bytes, Headers] | None:
    """What ends an answer that has begun, if its client can still be told of an error.

    The last bytes of its body, and trailers.
    """
    match form_of(request):
        case Form.GRPC if is_grpc_type(_asked_type(request)):
            return b"", _grpc_status(error)
        case Form.CONNECT_STREAM:
            return _connect_end(error), ()
    return None


def _asked_type(request: Request) -> bytes:
    return media_type(request.headers)


def _connect_error(error: BuffrError) -> dict[str, str]:
    code = _GRPC_STATUS.get(error.status, _GRPC_UNKNOWN)
    return {"code": _CONNECT_CODES[code], "message": _words(error)}


def _connect_end(error: BuffrError) -> bytes:
    """The message that ends a stream of Connect."""
    return framed(END_OF_STREAM, json.dumps({"error": _connect_error(error)}).encode())


def _grpc_fields(error: BuffrError, request: Request) -> Headers:
    """A status and a message in the place of an answer."""
    return (
        (b"content-type", _asked_type(request)),
        (b"content-length", b"0"),
        *_grpc_status(error),
        *error.headers,
    )


def _grpc_status(error: BuffrError) -> Headers:
    """A miss is FAILED_PRECONDITION: with UNAVAILABLE, clients ask again."""
    words = quote(_words(error).encode()[:_MOST_GRPC_BYTES], safe=_SAFE_IN_GRPC)
    return (
        (b"grpc-status", b"%d" % _GRPC_STATUS.get(error.status, _GRPC_UNKNOWN)),
        (b"grpc-message", words.encode("ascii")),
    )


def form_of(request: Request) -> Form:
    """The form that the client reads, as far as its request shows."""
    fields = {name.lower(): value for name, value in reversed(request.headers)}
    sent = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if is_grpc_type(sent) or sent.startswith(_GRPC_WEB):
        return Form.GRPC
    if sent.startswith(_CONNECT_STREAMS):
        return Form.CONNECT_STREAM
    if b"connect-protocol-version" in fields:
        return Form.CONNECT
    if fields.get(b"smithy-protocol") == b"rpc-v2-cbor":
        return Form.AWS_CBOR
    service = _aws_service(fields, request.target)
    if service is not None:
        return _aws_form(service, fields, sent, request.query or b"")
    if sent == b"application/soap+xml":
        return Form.SOAP_1_2
    if b"soapaction" in fields:
        return Form.SOAP_1_1
    accepted = fields.get(b"accept", b"").lower()
    if (
        _JSON.search(accepted)
        or _JSON.fullmatch(sent)
        or any(one in fields for one in _OF_JSON_APIS)
    ):
        return Form.JSON
    # Browsers accept XML as well as HTML, but people read text.
    if (_XML.search(accepted) and b"html" not in accepted) or _XML.fullmatch(sent):
        return Form.XML
    return Form.TEXT


def _aws_service(fields: Mapping[bytes, bytes], target: bytes) -> bytes | None:
    """The service that a request was signed for; ``_UNKNOWN`` for an unsigned one of an AWS SDK."""
    authorization = fields.get(b"authorization", b"")
    scope = _AWS_SCOPE.search(authorization)
    if scope is None and b"X-Amz-Credential=" in target:
        scope = _AWS_SCOPE.search(unquote_to_bytes(target))
    if scope is not None:
        return scope[1].lower()
    if _SIGNED_FOR_S3.match(authorization) or _S3_IN_QUERY.search(target):
        return b"s3"
    if b"amz-sdk-invocation-id" in fields or b"x-amz-target" in fields:
        return _UNKNOWN
    return None


def _aws_form(service: bytes, fields: Mapping[bytes, bytes], sent: bytes, query: bytes) -> Form:
    if b"x-amz-target" in fields or b"json" in sent:
        return Form.AWS_JSON
    if sent == _FORM or _ACTION_IN_QUERY.search(query):
        return Form.AWS_EC2 if service == b"ec2" else Form.AWS_QUERY
    if service in _REST_XML:
        return Form.AWS_QUERY
    # Without a signature it is a public object of S3; with another signature it is not.
    if service.startswith(b"s3") or (service == _UNKNOWN and b"authorization" not in fields):
        return Form.XML
    return Form.AWS_JSON


def _body(form: Form, error: BuffrError) -> bytes:
    words, name = _words(error), _name(error)
    match form:
        case Form.TEXT:
            return error.text.encode()
        case Form.JSON:
            return _json({}, error)
        case Form.CONNECT:
            return json.dumps(_connect_error(error)).encode()
        case Form.AWS_JSON:
            return _json({"__type": name}, error)
        case Form.AWS_CBOR:
            return _cbor({"__type": name, "message": words})
        case _:
            code, message = (_in_xml(text) for text in (name, words))
            return (_DOCUMENTS[form] % {"code": code, "message": message}).encode()


def _words(error: BuffrError) -> str:
    """Everything that a person needs, within bounds: SDKs show nothing else."""
    lines = error.explanation.splitlines()
    few = lines[:_MOST_LINES] + ["..."] * (len(lines) > _MOST_LINES)
    return "\n".join([f"buffr: {error}", *few])


def _name(error: BuffrError) -> str:
    """The kind of error in one word, as in XML APIs and AWS: ``NoRecordedInteraction``."""
    return error.reason.decode("ascii").replace(" ", "")


def _json(before: dict[str, object], error: BuffrError) -> bytes:
    """OpenAI, Google and Stripe read ``error``; AWS, GitHub and others ``message``."""
    words = _words(error)
    page = {
        **before,
        "error": {"message": words, "type": _TYPE, "code": error.code},
        "message": words,
        "hint": error.hint,
    }
    if error.details_json is None:
        return json.dumps({**page, **error.details}).encode() + b"\n"
    # Both are objects, and none is empty.
    return f"{json.dumps(page)[:-1]}, {error.details_json()[1:]}\n".encode()


def _cbor(texts: Mapping[str, str]) -> bytes:
    """A map of texts (RFC 8949 3.1)."""
    parts = [_cbor_head(5, len(texts))]
    for text in [each for item in texts.items() for each in item]:
        data = text.encode()
        parts += [_cbor_head(3, len(data)), data]
    return b"".join(parts)


def _cbor_head(major: int, count: int) -> bytes:
    if count < 24:
        return bytes((major << 5 | count,))
    return bytes((major << 5 | 26,)) + count.to_bytes(4, "big")


_XML_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_SOAP_1_2_NAME = "http://www.w3.org/2003/05/soap-envelope"
_DOCUMENTS = {
    Form.XML: f"{_XML_HEAD}<Error><Code>%(code)s</Code><Message>%(message)s</Message></Error>\n",
    Form.AWS_QUERY: (
        f"{_XML_HEAD}<ErrorResponse><Error><Type>Receiver</Type><Code>%(code)s</Code>"
        "<Message>%(message)s</Message></Error></ErrorResponse>\n"
    ),
    Form.AWS_EC2: (
        f"{_XML_HEAD}<Response><Errors><Error><Code>%(code)s</Code>"
        "<Message>%(message)s</Message></Error></Errors></Response>\n"
    ),
    Form.SOAP_1_1: (
        f'{_XML_HEAD}<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        "<s:Fault><faultcode>s:Server</faultcode><faultstring>%(message)s</faultstring>"
        "<detail><code>%(code)s</code></detail></s:Fault></s:Body></s:Envelope>\n"
    ),
    Form.SOAP_1_2: (
        f'{_XML_HEAD}<s:Envelope xmlns:s="{_SOAP_1_2_NAME}"><s:Body>'
        "<s:Fault><s:Code><s:Value>s:Receiver</s:Value></s:Code>"
        '<s:Reason><s:Text xml:lang="en">%(message)s</s:Text></s:Reason>'
        "<s:Detail><code>%(code)s</code></s:Detail></s:Fault></s:Body></s:Envelope>\n"
    ),
}

_NOT_IN_XML = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
"""A pattern that takes 4 ms to compile, so that is left to the first answer in XML."""


def _in_xml(text: str) -> str:
    return escape(re.sub(_NOT_IN_XML, "\ufffd", text))

"""What the APIs answer: plausible answers to what the clients of `clients/` ask."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen

from buffr.testing import Received, Step, answer, chunked

__all__ = ["api"]

JSON = b"application/json"
ID = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
WHEN = "2024-01-02T03:04:05Z"
DATE = b"Tue, 02 Jan 2024 03:04:05 GMT"
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}

Script = Callable[[Received], "bytes | Iterator[Step]"]
Field = tuple[bytes, bytes]

VARY: dict[str, bytes] = {
    "stripe": b"Origin",
    "openai": b"Origin, Accept-Encoding",
    "slack": b"Accept-Encoding, User-Agent",
    "github": b"Accept, Authorization, Cookie, X-GitHub-OTP, Accept-Encoding, X-Requested-With",
    "google": b"Origin, X-Origin, Referer",
    "huggingface": b"Origin",
    "elastic": b"Accept-Encoding",
    "notion": b"Accept-Encoding",
    "cohere": b"Origin",
}
"""What the real ones send."""


@frozen
class Rule:
    """``pattern`` is a regular expression for how method and target begin."""

    pattern: str
    script: Script


def _fields(api: str, media_type: bytes) -> tuple[Field, ...]:
    vary = VARY.get(api)
    told: tuple[Field, ...] = ((b"Date", DATE), (b"Content-Type", media_type))
    return (*told, (b"Vary", vary)) if vary else told


def _json(
    pattern: str, value: Any, api: str = "", status: bytes = b"200 OK", media_type: bytes = JSON
) -> Rule:
    data = answer(json.dumps(value).encode(), status, _fields(api, media_type))
    return Rule(pattern, lambda _: data)


def _raw(pattern: str, body: bytes, *fields: Field, status: bytes = b"200 OK") -> Rule:
    data = answer(body, status, ((b"Date", DATE), *fields))
    return Rule(pattern, lambda _: data)


def _events(*events: tuple[str | None, Any], api: str) -> Iterator[Step]:
    lines = []
    for name, value in events:
        head = f"event: {name}\n" if name else ""
        data = value if isinstance(value, str) else json.dumps(value)
        lines.append(f"{head}data: {data}\n\n".encode())
    return chunked(lines, _fields(api, b"text/event-stream; charset=utf-8"))


def _chat(received: Received) -> bytes | Iterator[Step]:
    head = {"id": "chatcmpl-1", "created": 1700000000, "model": "gpt-x"}
    if b'"stream":true' in received.body.replace(b" ", b""):
        chunks = [
            {**head, "object": "chat.completion.chunk",
             "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}
            for word in ("Hal", "lo")
        ]  # fmt: skip
        return _events(*((None, chunk) for chunk in chunks), (None, "[DONE]"), api="openai")
    message = {"role": "assistant", "content": "Hallo", "tool_calls": None, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    body = {**head, "object": "chat.completion", "choices": [choice], "usage": USAGE}
    return answer(json.dumps(body).encode(), headers=_fields("openai", JSON))


def _message(received: Received) -> bytes | Iterator[Step]:
    usage = {"input_tokens": 1, "output_tokens": 1}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
            "stop_sequence": None, "usage": usage}  # fmt: skip
    if b'"stream":true' in received.body.replace(b" ", b""):
        delta = {"type": "text_delta", "text": "Hallo"}
        events = (
            {"type": "message_start", "message": {**head, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0,
             "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
             "usage": usage},
            {"type": "message_stop"},
        )  # fmt: skip
        return _events(*((str(event["type"]), event) for event in events), api="anthropic")
    body = {**head, "content": [{"type": "text", "text": "Hallo"}], "stop_reason": "end_turn"}
    return answer(json.dumps(body).encode(), headers=_fields("anthropic", JSON))


MODELS = {"object": "list", "data": [
    {"id": name, "object": "model", "created": 1, "owned_by": "x",
     "type": "base", "capabilities": {"completion_chat": True}} for name in ("a", "b")
]}  # fmt: skip
EMBEDDINGS = {"object": "list", "id": "e1", "model": "m", "usage": USAGE, "data": [
    {"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}
]}  # fmt: skip

_GENERATED = {
    "candidates": [
        {"content": {"role": "model", "parts": [{"text": "Hallo"}]}, "finishReason": "STOP",
         "index": 0}
    ],
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
}  # fmt: skip

_LLM = (
    Rule(r"POST /(openai/|v1/)+chat/completions", _chat),
    Rule(r"POST /v1/messages", _message),
    _json(r"GET /(openai/|v1/)+models ", MODELS, "openai"),
    _json(r"POST /v1/embeddings", EMBEDDINGS, "openai"),
    _json(
        r"POST /v1/files",
        {"id": "file-1", "object": "file", "bytes": 9, "created_at": 1, "filename": "data.jsonl",
         "purpose": "batch", "status": "processed"},
        "openai",
    ),
    _json(r"POST /v1beta/models/\S+:countTokens", {"totalTokens": 3}, "google"),
    _json(
        r"POST /v1beta/models/\S+:(batchEmbedContents|embedContent)",
        {"embeddings": [{"values": [0.5]}], "embedding": {"values": [0.5]}},
        "google",
    ),
    Rule(
        r"POST /v1beta/models/\S+:streamGenerateContent",
        lambda _: _events((None, _GENERATED), (None, _GENERATED), api="google"),
    ),
)  # fmt: skip

_MORE_LLM = (
    _json(r"POST /v1beta/models/\S+:generateContent", _GENERATED, "google"),
    _json(
        r"POST /v2/chat",
        {"id": "c1", "finish_reason": "COMPLETE", "usage": {"tokens": {"input_tokens": 1}},
         "message": {"role": "assistant", "content": [{"type": "text", "text": "Hallo"}]}},
        "cohere",
    ),
    _json(
        r"POST /v2/rerank",
        {"id": "r1", "results": [{"index": 1, "relevance_score": 0.5}], "meta": {}},
        "cohere",
    ),
    _json(
        r"POST /v2/embed",
        {"id": "e1", "embeddings": {"float": [[0.5]]}, "texts": ["a"], "meta": {},
         "response_type": "embeddings_by_type"},
        "cohere",
    ),
    _json(
        r"(POST|GET) /v1/predictions",
        {"id": "p1", "status": "succeeded", "version": "v1", "model": "octo/cat",
         "input": {"prompt": "hi"}, "output": "x", "logs": "", "error": None, "metrics": {},
         "created_at": WHEN, "started_at": WHEN, "completed_at": WHEN, "source": "api",
         "urls": {"get": "http://x", "cancel": "http://x"}},
    ),
    _json(
        r"GET /v1/models/octo/cat",
        {"url": "http://x", "owner": "octo", "name": "cat", "description": None,
         "visibility": "public", "github_url": None, "paper_url": None, "license_url": None,
         "run_count": 1, "cover_image_url": None, "default_example": None,
         "latest_version": None},
    ),
)  # fmt: skip

_XML = (b"Content-Type", b"application/xml")
_ETAG = (b"ETag", b'"0x8D"')
_MODIFIED = (b"Last-Modified", DATE)
_S3_LIST = (
    b'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<Name>b</Name><Prefix>a/</Prefix><KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys>"
    b"<IsTruncated>false</IsTruncated></ListBucketResult>"
)
_AZURE_LIST = (
    b'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="http://x/"'
    b' ContainerName="box"><Blobs><Blob><Name>a b.txt</Name><Properties>'
    b"<Content-Length>5</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>"
    b"</Blobs><NextMarker /></EnumerationResults>"
)
_AMZ_JSON = b"application/x-amz-json-1.1"


def _aws(received: Received) -> bytes:
    results: dict[bytes, Any] = {
        b"GetItem": {"Item": {"id": {"S": "1"}}},
        b"PutItem": {},
        b"SendMessage": {"MessageId": "m1", "MD5OfMessageBody": "5d41402abc4b2a76b9719d911017c592"},
        b"ReceiveMessage": {"Messages": [
            {"MessageId": "m1", "ReceiptHandle": "h", "Body": "hello",
             "MD5OfBody": "5d41402abc4b2a76b9719d911017c592"}
        ]},
        b"GetSecretValue": {"Name": "db", "ARN": "arn:1", "SecretString": "of-get"},
        b"CreateSecret": {"Name": "db", "ARN": "arn:1", "VersionId": ID},
    }  # fmt: skip
    operation = (received.header(b"X-Amz-Target") or b"").rpartition(b".")[2]
    body = json.dumps(results[operation]).encode()
    return answer(body, headers=((b"Content-Type", _AMZ_JSON),))


_BLOB_FIELDS: tuple[Field, ...] = (
    _ETAG, _MODIFIED, (b"x-ms-version", b"2023-11-03"), (b"x-ms-blob-type", b"BlockBlob"),
    (b"x-ms-request-id", ID.encode()),
)  # fmt: skip

_CLOUD = (
    Rule(r"POST /( |1/queue)", _aws),
    _raw(r"PUT /b/", b"", _ETAG),
    _raw(r"GET /b/r", b"hello", _ETAG, (b"Content-Range", b"bytes 0-4/9"),
         status=b"206 Partial Content"),
    _raw(r"GET /b/", b"hello", _ETAG, _MODIFIED, (b"Content-Type", b"binary/octet-stream")),
    _raw(r"GET /b\?", _S3_LIST, _XML),
    _raw(r"PUT /account/box/\S+comp=metadata", b"", *_BLOB_FIELDS),
    _raw(r"PUT /account/box", b"", *_BLOB_FIELDS, status=b"201 Created"),
    _raw(r"GET /account/box/", b"hello", *_BLOB_FIELDS, (b"Content-Range", b"bytes 0-4/5"),
         (b"Content-Type", b"application/octet-stream"), status=b"206 Partial Content"),
    _raw(r"HEAD /account/box/", b"", *_BLOB_FIELDS, (b"Content-Type", b"text/plain")),
    _raw(r"GET /account/box\?", _AZURE_LIST, _XML),
    _json(r"POST /upload/storage", {"name": "a.txt", "bucket": "box", "size": "5"}, "google"),
    _json(r"GET /storage/v1/b/box/o\?", {"items": [{"name": "a.txt", "bucket": "box"}]}, "google"),
    _raw(r"GET /download/storage", b"hello", (b"Content-Type", b"text/plain"),
         (b"X-Goog-Hash", b"crc32c=mnG7TA=="), (b"Vary", b"Origin, X-Origin")),
    _json(r"GET /storage/v1/b/box", {"name": "box", "id": "box"}, "google"),
)  # fmt: skip

_REPO = {"id": 1, "name": "cat", "full_name": "octo/cat", "url": "/repos/octo/cat",
         "owner": {"login": "octo", "id": 1}}  # fmt: skip
_ISSUE = {"number": 1, "title": "title", "id": 1, "state": "open", "user": {"login": "octo"}}
_CUSTOMER = {"id": "cus_1", "object": "customer"}
_SMS = {"sid": "SM1", "status": "queued", "body": "hi", "num_segments": "1", "direction": "x",
        "date_created": "Tue, 02 Jan 2024 03:04:05 +0000"}  # fmt: skip
_GITHUB = b"application/json; charset=utf-8"
_ROWS = (b"Content-Type", b"application/json; charset=utf-8")
_ELASTIC = (b"X-elastic-product", b"Elasticsearch")


def _elastic(pattern: str, value: Any) -> Rule:
    """Elasticsearch answers in the media type that is asked for."""

    def script(received: Received) -> bytes:
        kind = (received.header(b"Accept") or JSON).replace(b"; ", b";")
        fields = (_ELASTIC, (b"Content-Type", kind), (b"Vary", VARY["elastic"]))
        return answer(json.dumps(value).encode(), headers=fields)

    return Rule(pattern, script)


_SERVICES = (
    _json(r"POST /v1/customers", _CUSTOMER, "stripe"),
    _json(
        r"GET /v1/customers",
        {"object": "list", "url": "/v1/customers", "has_more": False, "data": [_CUSTOMER]},
        "stripe",
    ),
    _json(r"GET /v1/balance", {"object": "balance", "available": [], "pending": []}, "stripe"),
    _json(r"POST /v1/payment_intents", {"id": "pi_1", "object": "payment_intent"}, "stripe"),
    _json(r"(POST|GET) /api/chat.postMessage", {"ok": True, "ts": "1.2"}, "slack"),
    _json(r"(POST|GET) /api/users.list", {"ok": True, "members": [{"id": "U1"}]}, "slack"),
    _json(r"(POST|GET) /api/auth.test", {"ok": True, "user": "me"}, "slack"),
    _json(r"POST /2010-04-01/\S+/Messages.json", _SMS, status=b"201 Created"),
    _json(
        r"GET /2010-04-01/\S+/Messages.json",
        {"messages": [_SMS], "page": 0, "next_page_uri": None, "uri": "/x"},
    ),
    _json(r"GET /v2/PhoneNumbers/", {"phone_number": "+15551", "valid": True}),
    _json(r"GET /v1/pages/", {"object": "page", "id": ID}, "notion"),
    _json(r"\w+ /v1/(search|users|blocks)", {"object": "list", "results": []}, "notion"),
    _json(r"GET /repos/octo/cat/issues", [_ISSUE], "github", media_type=_GITHUB),
    _json(r"POST /repos/octo/cat/issues", _ISSUE, "github", b"201 Created", _GITHUB),
    _json(r"GET /repos/octo/cat", _REPO, "github", media_type=_GITHUB),
    _json(r"GET /user ", {"login": "octo", "id": 1}, "github", media_type=_GITHUB),
    _json(r"GET /search", {"total_count": 1, "items": [_REPO]}, "github", media_type=_GITHUB),
    _json(r"GET /api/whoami", {"name": "octo", "type": "user"}, "huggingface"),
    _json(r"GET /api/models/", {"id": "octo/cat", "siblings": []}, "huggingface"),
    _json(r"GET /api/models\?", [{"id": "octo/cat"}, {"id": "octo/dog"}], "huggingface"),
    _json(r"POST /api/repos/create", {"url": "https://huggingface.co/octo/new"}, "huggingface"),
    _raw(r"GET /rows\?select=%2A|GET /rows\?select=\*", b'{"id":1}', _ROWS),
    _raw(r"GET /rows", b'[{"id":1,"name":"x"}]', _ROWS, (b"Content-Range", b"0-0/*")),
    _raw(r"POST /rows", b'[{"id":2}]', _ROWS, status=b"201 Created"),
    _raw(r"POST /rpc/add", b"3", _ROWS),
    _elastic(
        r"GET / ",
        {"name": "n", "cluster_name": "c", "version": {"number": "9.0.0", "build_flavor": "x"},
         "tagline": "You Know, for Search"},
    ),
    _elastic(r"PUT /i/_doc/1", {"_index": "i", "_id": "1", "result": "created"}),
    _elastic(r"GET /i/_doc/1", {"_index": "i", "_id": "1", "found": True, "_source": {"a": "ä"}}),
    _elastic(r"POST /i/_search", {"hits": {"total": {"value": 0}, "hits": []}}),
    _elastic(r"(POST|PUT) /_bulk", {"errors": False, "took": 1, "items": []}),
    _raw(r"POST /v3/mail/send", b"", status=b"202 Accepted"),
    _json(r"GET /v3/api_keys", {"result": []}),
    _json(r"GET /indexes/books", _INDEX := {
        "name": "books", "dimension": 3, "metric": "cosine", "host": "books.example.com",
        "spec": {"serverless": {"cloud": "aws", "region": "us-east-1"}},
        "status": {"ready": True, "state": "Ready"}, "deletion_protection": "disabled",
        "vector_type": "dense", "schema": {"fields": {}},
    }),
    _json(r"GET /indexes", {"indexes": [_INDEX]}),
)  # fmt: skip

_RULES = [
    (re.compile(rule.pattern), rule.script) for rule in (*_LLM, *_MORE_LLM, *_CLOUD, *_SERVICES)
]


def api(received: Received) -> bytes | Iterator[Step]:
    """A script for ``FakeUpstream``; 404 where no client of ours asks."""
    asked = f"{received.method.decode()} {received.target.decode('latin-1')} "
    for pattern, script in _RULES:
        if pattern.match(asked):
            return script(received)
    return answer(f"no script for {asked}".encode(), b"404 Not Found")

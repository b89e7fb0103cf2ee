"""What a request means, in a few words: the operation, and what it is done to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from buffr.message import Headers, media_type
from buffr.redaction.request_hint import RequestHint

__all__ = ["label_of"]

_LONGEST = 80
_GRAPHQL = re.compile(
    r"\s*(?:#[^\n]*\n\s*)*(query|mutation|subscription)\s*([A-Za-z_][A-Za-z0-9_]*)?"
)
_SUBJECTS = ("TableName", "QueueUrl", "Bucket", "FunctionName", "StreamName", "TopicArn", "Name")
"""Members of AWS' requests that name what an operation is done to."""
_VERBS = (
    ("/chat/completions", "chat"),
    ("/v2/chat", "chat"),
    ("/responses", "response"),
    ("/messages", "messages"),
    ("/embeddings", "embeddings"),
    ("/v2/embed", "embeddings"),
    ("/completions", "completion"),
    (":streamGenerateContent", "generate"),
    (":generateContent", "generate"),
    (":embedContent", "embeddings"),
    ("/images/generations", "image"),
    ("/audio/transcriptions", "transcription"),
    ("/audio/speech", "speech"),
    ("/moderations", "moderation"),
    ("/rerank", "rerank"),
)
_MODEL_IN_PATH = re.compile(r"/models/([^/:?]+):")
_VERSION = re.compile(r"api|v[0-9][\w.-]*|[0-9.]+")
_CONVERSATIONS = ("messages", "input", "contents")


def label_of(url: str, headers: Headers, members: Mapping[str, object], hint: RequestHint) -> str:
    """A request in a few words. ``url``, and the ``members`` of a body's JSON, are redacted."""
    kind = media_type(headers)
    parts = urlsplit(url)
    if kind.startswith(b"application/grpc"):
        return _cut(f"{parts.path.lstrip('/')} · gRPC")
    document = members if b"json" in kind or kind == b"" else {}
    words = _graphql(document) or _llm(parts.path, document, hint) or _operation(document, hint)
    return _cut(words or _end_of(parts.path, parts.query))


def _graphql(document: Mapping[str, object]) -> str:
    query = document.get("query")
    if not isinstance(query, str):
        return ""
    found = _GRAPHQL.match(query)
    name = document.get("operationName")
    if found is None:
        return f"query {name}" if isinstance(name, str) and query.lstrip().startswith("{") else ""
    named = name if isinstance(name, str) and name else found[2]
    return f"{found[1]} {named}" if named else found[1]


def _llm(path: str, document: Mapping[str, object], hint: RequestHint) -> str:
    verb = next((verb for end, verb in _VERBS if path.endswith(end)), "")
    in_path = _MODEL_IN_PATH.search(path)
    model = hint.model or (in_path[1] if in_path else None)
    if not verb or not model:
        return ""
    said = [verb, model]
    for name in _CONVERSATIONS:
        turns = document.get(name)
        if isinstance(turns, list) and verb != "embeddings":
            said.append(f"{len(turns)} messages" if len(turns) != 1 else "1 message")
            break
    if document.get("tools"):
        said.append("tools")
    if hint.stream or "stream" in verb or path.endswith(":streamGenerateContent"):
        said.append("stream")
    return " · ".join(said)


def _operation(document: Mapping[str, object], hint: RequestHint) -> str:
    operation = hint.operation
    if not operation:
        return ""
    name = operation.rstrip("/").rpartition("/")[2].rpartition(".")[2] or operation
    members = (document.get(one) for one in _SUBJECTS)
    subject = next((one for one in members if isinstance(one, str)), "")
    subject = subject.rstrip("/").rpartition("/")[2].rpartition(":")[2]
    return f"{name} · {subject}" if subject else name


def _end_of(path: str, query: str) -> str:
    """The last segment, and the one before it if that says more than a version does."""
    before, _, end = path.rstrip("/").rpartition("/")
    before = before.rpartition("/")[2]
    if before and not _VERSION.fullmatch(before):
        end = f"{before}/{end}"
    end = end or "/"
    return f"{end}?{query}" if query else end


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"

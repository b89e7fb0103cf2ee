"""What an answer of an API for language models says about the tokens that it cost.

OpenAI (chat completions, responses, embeddings), Anthropic, Gemini, Mistral and
Cohere report it in JSON, streams in one of their last events. Shapes as their
references had them in 2025.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from attrs import frozen

__all__ = ["MAY_HAVE_USAGE", "Usage", "usage_of"]

_LARGEST = 8 << 20
_PATHS = re.compile(
    rb"/(?:chat/completions|completions|responses|messages|embeddings|embed|chat|rerank)(?:\?|$)"
    rb"|:(?:stream)?[gG]enerateContent|:embedContent|:batchEmbedContents"
)
MAY_HAVE_USAGE = _PATHS.search
"""Whether an answer to a request for a target may say what it cost."""
_MODEL_IN_PATH = re.compile(rb"/models/([^/:?]+):")
_NAMES = ("usage", "usageMetadata", "meta")


_STARTS = (
    *(("gpt-", "openai"), ("o1", "openai"), ("o3", "openai"), ("o4", "openai")),
    *(("text-embedding-", "openai"), ("claude-", "anthropic"), ("gemini-", "gemini")),
    *(("mistral-", "mistral"), ("ministral-", "mistral"), ("codestral-", "mistral")),
    *(("magistral-", "mistral"), ("pixtral-", "mistral"), ("command-", "cohere")),
)


@frozen
class Usage:
    """Tokens of one answer. ``cached_tokens`` are part of ``input_tokens``.

    ``provider`` is ``None`` if the shape does not tell it.
    """

    model: str
    provider: str | None
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0


def usage_of(target: bytes, body: bytes, media_type: bytes) -> Usage | None:
    """The tokens that a decoded answer says it cost; ``None`` if it says nothing."""
    if not body or len(body) > _LARGEST:
        return None
    found: dict[str, Any] = {}
    for document in _documents(body, media_type):
        _collect(document, found)
    usage = found.get("usage")
    if not isinstance(usage, Mapping):
        return None
    in_path = _MODEL_IN_PATH.search(target)
    model = found.get("model") or (in_path[1].decode("latin-1") if in_path else "")
    counted = _counted(usage)
    if counted is None or not model:
        return None
    provider, *tokens = counted
    return Usage(str(model)[:200], provider or _provider(str(model)), *tokens)


def _provider(model: str) -> str | None:
    """Whose model it is, by its name: OpenAI's shape is many others' too."""
    return next((name for start, name in _STARTS if model.startswith(start)), None)


def _documents(body: bytes, media_type: bytes) -> Iterator[Any]:
    if media_type == b"text/event-stream":
        for line in body.splitlines():
            if line.startswith(b"data:") and b"{" in line:
                yield from _decoded(line[5:])
        return
    yield from _decoded(body)


def _decoded(text: bytes) -> Iterator[Any]:
    try:
        document = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return
    yield from document if isinstance(document, list) else [document]


def _collect(document: Any, found: dict[str, Any]) -> None:
    """Take model and usage out of a document, or of what is nested in an event of it."""
    if not isinstance(document, Mapping):
        return
    for name in ("model", "modelVersion"):
        if isinstance(document.get(name), str):
            found.setdefault("model", document[name])
    for name in _NAMES:
        usage = document.get(name)
        if isinstance(usage, Mapping):
            # An event of Anthropic's has the input, a later one the output.
            found["usage"] = {**found.get("usage", {}), **usage}
    for name in ("response", "message", "delta"):
        _collect(document.get(name), found)


def _counted(usage: Mapping[str, Any]) -> tuple[str | None, int, int, int] | None:
    """Provider, input, output and cached tokens."""
    if "promptTokenCount" in usage:
        output = _number(usage, "candidatesTokenCount") + _number(usage, "thoughtsTokenCount")
        cached = _number(usage, "cachedContentTokenCount")
        return "gemini", _number(usage, "promptTokenCount"), output, cached
    tokens = usage.get("tokens")
    if not isinstance(tokens, Mapping):
        tokens = usage.get("billed_units")
    if isinstance(tokens, Mapping):
        return "cohere", _number(tokens, "input_tokens"), _number(tokens, "output_tokens"), 0
    if "prompt_tokens" in usage:
        cached = _number(_inner(usage, "prompt_tokens_details"), "cached_tokens")
        output = _number(usage, "completion_tokens")
        return None, _number(usage, "prompt_tokens"), output, cached
    if "input_tokens" in usage:
        if "cache_read_input_tokens" in usage or "cache_creation_input_tokens" in usage:
            cached = _number(usage, "cache_read_input_tokens")
            written = _number(usage, "cache_creation_input_tokens")
            whole = _number(usage, "input_tokens") + cached + written
            return "anthropic", whole, _number(usage, "output_tokens"), cached
        cached = _number(_inner(usage, "input_tokens_details"), "cached_tokens")
        return None, _number(usage, "input_tokens"), _number(usage, "output_tokens"), cached
    return None


def _inner(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = usage.get(name)
    return inner if isinstance(inner, Mapping) else {}


def _number(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return int(value) if isinstance(value, int | float) and value >= 0 else 0

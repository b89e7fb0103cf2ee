"""Tokens as the APIs of language models report them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.formats.llm_usage import Usage, usage_of

JSON = b"application/json"
SSE = b"text/event-stream"


def stream(*events: Any) -> bytes:
    return b"".join(b"event: x\ndata: %b\n\n" % json.dumps(one).encode() for one in events)


OPENAI = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 4},
}
RESPONSES = {"input_tokens": 10, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 4}}
ANTHROPIC = {"input_tokens": 6, "cache_read_input_tokens": 4, "output_tokens": 5}
GEMINI = {"promptTokenCount": 10, "candidatesTokenCount": 3, "thoughtsTokenCount": 2}
COHERE = {"billed_units": {"input_tokens": 1}, "tokens": {"input_tokens": 10, "output_tokens": 5}}


@pytest.mark.parametrize(
    ("target", "body", "kind", "expected"),
    [
        ("/v1/chat/completions", {"model": "gpt-4o", "usage": OPENAI}, JSON, ("openai", 4)),
        (
            "/v1/chat/completions",
            stream({"model": "gpt-4o", "usage": None}, {"model": "gpt-4o", "usage": OPENAI}),
            SSE,
            ("openai", 4),
        ),
        ("/v1/responses", {"model": "gpt-5", "usage": RESPONSES}, JSON, ("openai", 4)),
        (
            "/v1/responses",
            stream({"response": {"model": "gpt-5", "usage": RESPONSES}}),
            SSE,
            ("openai", 4),
        ),
        ("/v1/messages", {"model": "claude-x", "usage": ANTHROPIC}, JSON, ("anthropic", 4)),
        (
            "/v1/messages",
            stream(
                {"message": {"model": "claude-x", "usage": {**ANTHROPIC, "output_tokens": 1}}},
                {"usage": {"output_tokens": 5}},
            ),
            SSE,
            ("anthropic", 4),
        ),
        (
            "/v1beta/models/gemini-2.5-pro:generateContent",
            {"usageMetadata": GEMINI},
            JSON,
            ("gemini", 0),
        ),
        (
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
            stream({"usageMetadata": {"promptTokenCount": 10}}, {"usageMetadata": GEMINI}),
            SSE,
            ("gemini", 0),
        ),
        ("/v1/chat/completions", {"model": "mistral-small", "usage": OPENAI}, JSON, ("mistral", 4)),
        ("/v2/chat", {"model": "command-a", "usage": COHERE}, JSON, ("cohere", 0)),
    ],
)
def test_of_each_api(target: str, body: Any, kind: bytes, expected: tuple[str, int]) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = usage_of(target.encode(), data, kind)
    assert isinstance(found, Usage)
    assert (found.input_tokens, found.output_tokens) == (10, 5)
    assert (found.provider, found.cached_tokens) == expected


@given(body=st.binary(max_size=200), kind=st.sampled_from((JSON, SSE)))
def test_whatever_is_answered(body: bytes, kind: bytes) -> None:
    usage_of(b"/v1/chat/completions", body, kind)


@given(
    document=st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: st.dictionaries(
            st.sampled_from(("usage", "model", "message", "response", "prompt_tokens", "tokens")),
            inner,
            max_size=4,
        ),
    )
)
def test_whatever_shape_it_has(document: Any) -> None:
    usage_of(b"/v1/chat/completions", json.dumps(document).encode(), JSON)

"""The language of filters."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.admin.answers import Failed
from buffr.admin.filters import filter_of

ONE: dict[str, Any] = {
    "source": "miss",
    "method": "POST",
    "host": "api.openai.com",
    "path": "/v1/chat",
    "url": "https://api.openai.com/v1/chat",
    "route": "forward-https-api.openai.com-443",
    "scope": "tests/a",
    "model": "gpt-5-mini",
    "operation": None,
    "kind": "http",
    "level": "WARN",
    "traceparent": None,
    "label": "chat · gpt-5-mini",
    "about": "How are you?",
    "status": 599,
    "duration_ms": 1500.0,
    "response_bytes": None,
}


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", True),
        ("chat", True),
        ("'how are'", True),
        ("nothing", False),
        ("-nothing", True),
        ("src:miss status:599", True),
        ("src:mis", False),
        ("host:openai", True),
        ("op:x", False),
        ("status:5xx", True),
        ("status:<599", False),
        ("dur:>1s", True),
        ("dur:>1500ms", False),
        ("dur:>=1500", True),
        ("size:>0", False),
        ("-size:>0", True),
        ("https://api", True),
    ],
)
def test_what_passes(text: str, passes: bool) -> None:
    assert filter_of(text).passes(ONE) is passes


@given(text=st.text(max_size=100))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    with suppress(Failed):
        filter_of(text).passes(ONE)

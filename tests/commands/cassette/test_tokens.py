"""What the answers in a cassette cost, by ``buffr cassette stats``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buffr.commands.cli import run
from buffr.interaction import Body, HTTPInteraction, RecordedRequest
from buffr.message import ResponseHead
from buffr.stores.cassette.format import encode


def answered(model: str, usage: dict[str, int]) -> str:
    body = json.dumps({"model": model, "usage": usage}).encode()
    head = ResponseHead(200, b"OK", ((b"Content-Type", b"application/json"),))
    request = RecordedRequest(b"POST", b"/v1/chat/completions")
    return encode(HTTPInteraction(request, head, Body.of(body), took_ms=1500)).decode()


def test_tokens_and_money_by_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elements = [
        answered("gpt-5-mini-2025-08-07", {"prompt_tokens": 1000, "completion_tokens": 500}),
        answered("gpt-5-mini-2025-08-07", {"prompt_tokens": 1000, "completion_tokens": 500}),
        answered("nobody-knows-it", {"prompt_tokens": 7, "completion_tokens": 3}),
    ]
    file = tmp_path / "c.json"
    file.write_text(f'{{"version": 1, "interactions": [{",".join(elements)}]}}')
    assert run(["cassette", "stats", str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["took_ms"] == 4500
    known = found["tokens"]["gpt-5-mini-2025-08-07"]
    assert (known["answers"], known["input_tokens"], known["output_tokens"]) == (2, 2000, 1000)
    assert known["usd"] == pytest.approx(2 * (1000 * 0.25 + 500 * 2) / 1e6)
    assert found["tokens"]["nobody-knows-it"]["usd"] is None
    assert run(["cassette", "stats", str(file)]) == 0
    text = capsys.readouterr().out
    assert "took 4.5 s" in text
    assert "price unknown" in text

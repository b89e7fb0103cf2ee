"""Parts of the live page's script, run by a browser: formats of models, JSON, differences."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from fake_admin import Json, body, fake_admin
from live_page import BROWSER, Sight, browser, looking

pytestmark = pytest.mark.skipif(BROWSER is None, reason="chromium is not on this machine")


@pytest.fixture(scope="module")
def sight() -> Iterator[Sight]:
    with browser() as chromium, fake_admin() as admin, looking(chromium, admin.url) as found:
        yield found


def run(sight: Sight, module: str, code: str, *given: Any) -> Any:
    """What a function of a module makes of some values."""
    script = f"async (given) => {{ const m = await import('/static/{module}.js'); {code} }}"
    return sight.page.evaluate(script, list(given))


def sse(*events: Json, named: bool = False) -> str:
    return "".join(
        (f"event: {each['type']}\n" if named else "") + f"data: {json.dumps(each)}\n\n"
        for each in events
    )


def talk(sight: Sight, url: str, request: Json, answer: str, media_type: str) -> Json:
    """The conversation that an exchange is shown as, its stream cut at every 7 bytes."""
    size = len(answer.encode())
    chunks = [{"size_bytes": min(7, size - at), "delay_ms": 1} for at in range(0, size, 7)]
    detail = {
        "request": {"url": url, "body": body(json.dumps(request))},
        "response": {"body": body(answer, media_type), "chunks": chunks},
        "frames": None,
    }
    code = """
      const { piecesOf } = await import("/static/pieces.js");
      const made = m.conversation(given[0], piecesOf(given[0]));
      return {
        facts: made.facts, usage: made.usage,
        turns: made.turns.map((turn) => [turn.who, turn.parts.map((each) => each.text).join(""),
          turn.tools.map((tool) => [tool.name, tool.text])]),
      };
    """
    found: Json = run(sight, "conversation", code, detail)
    return found


EVENTS = "text/event-stream"
WEATHER = {"city": "Köln"}


class TestModels:
    def test_anthropic_streamed_with_a_tool(self, sight: Sight) -> None:
        request = {
            "model": "claude-haiku-4-5",
            "max_tokens": 100,
            "system": [{"type": "text", "text": "Be brief."}],
            "messages": [
                {"role": "user", "content": "Weather?"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "t1", "name": "now", "input": {}}],
                },
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "10:00"}],
                },
            ],
        }
        tool = {"type": "tool_use", "id": "t2", "name": "weather", "input": {}}
        events: list[Json] = [
            {"type": "message_start", "message": {"usage": {"input_tokens": 20}}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}},
        ]
        for text in ("Let me ", "löök."):
            delta: Json = {"type": "text_delta", "text": text}
            events.append({"type": "content_block_delta", "index": 0, "delta": delta})
        events.append({"type": "content_block_start", "index": 1, "content_block": tool})
        for part in ('{"city": ', '"Köln"}'):
            delta = {"type": "input_json_delta", "partial_json": part}
            events.append({"type": "content_block_delta", "index": 1, "delta": delta})
        events.append({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9}})
        url = "https://api.anthropic.com/v1/messages"
        found = talk(sight, url, request, sse(*events, named=True), EVENTS)
        assert found["turns"] == [
            ["System", "Be brief.", []],
            ["User", "Weather?", []],
            ["Assistant", "", [["now", "{}"]]],
            ["Tool", "", [["now", "10:00"]]],
            ["Assistant", "Let me löök.", [["weather", '{"city": "Köln"}']]],
        ]
        assert found["usage"] == {"input": 20, "output": 9}

    def test_openai_responses_streamed(self, sight: Sight) -> None:
        request = {"model": "gpt-5", "instructions": "Be brief.", "input": "Hello"}
        call = {"type": "function_call", "name": "weather", "call_id": "c1"}
        events: list[Json] = [
            {"type": "response.output_text.delta", "output_index": 0, "delta": "Hi "},
            {"type": "response.output_text.delta", "output_index": 0, "delta": "there"},
            {"type": "response.output_item.added", "output_index": 1, "item": call},
        ]
        for part in ('{"city":', '"Bonn"}'):
            kind = "response.function_call_arguments.delta"
            events.append({"type": kind, "output_index": 1, "delta": part})
        usage = {"input_tokens": 5, "output_tokens": 6}
        events.append({"type": "response.completed", "response": {"usage": usage}})
        url = "https://api.openai.com/v1/responses"
        found = talk(sight, url, request, sse(*events, named=True), EVENTS)
        assert found["turns"] == [
            ["System", "Be brief.", []],
            ["User", "Hello", []],
            ["Assistant", "Hi there", [["weather", '{"city":"Bonn"}']]],
        ]
        assert found["usage"] == {"input": 5, "output": 6}

    def test_openai_responses_whole(self, sight: Sight) -> None:
        call = {"type": "function_call", "name": "weather", "call_id": "c1", "arguments": "{}"}
        result = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
        question = {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
        request = {"model": "gpt-5", "input": [question, call, result]}
        text = {"type": "output_text", "text": "It is sunny."}
        answer = {"output": [{"type": "message", "role": "assistant", "content": [text]}]}
        url = "https://api.openai.com/v1/responses"
        found = talk(sight, url, request, json.dumps(answer), "application/json")
        assert found["turns"] == [
            ["User", "Hello", []],
            ["Assistant", "", [["weather", "{}"]]],
            ["Tool", "", [["weather", "sunny"]]],
            ["Assistant", "It is sunny.", []],
        ]

    def test_gemini(self, sight: Sight) -> None:
        request = {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [{"role": "user", "parts": [{"text": "Weather?"}]}],
        }
        parts: list[Json] = [{"text": "Sunny."}]
        parts.append({"functionCall": {"name": "weather", "args": WEATHER}})
        answer = {
            "candidates": [{"content": {"role": "model", "parts": parts}}],
            "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4},
        }
        url = "https://generativelanguage.googleapis.com/v1beta/models/g:generateContent"
        found = talk(sight, url, request, json.dumps(answer), "application/json")
        assert found["turns"][-1] == ["Assistant", "Sunny.", [["weather", '{"city":"Köln"}']]]
        assert found["usage"] == {"input": 3, "output": 4}

    def test_an_error(self, sight: Sight) -> None:
        request = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}]}
        answer = json.dumps({"error": {"message": "No such model."}})
        url = "https://api.openai.com/v1/chat/completions"
        found = talk(sight, url, request, answer, "application/json")
        assert found["turns"][-1] == ["Error", "No such model.", []]


class TestJson:
    def test_digits_and_duplicate_names_stay(self, sight: Sight) -> None:
        text = '{"n": 12345678901234567890.10, "n": 1e400, "a": [], "o": {}, "s": "a,b:{c}\\"d"}'
        lines = run(sight, "bodies", "return m.plainLines(given[0])", text)
        numbers = '{ "n": 12345678901234567890.10, "n": 1e400, '
        rest = '"a": [], "o": {}, "s": "a,b:{c}\\"d" }'
        assert " ".join(line.strip() for line in lines) == numbers + rest

    @pytest.mark.parametrize(
        "text", ['{"a":[1,2],"b":{"c":"x, y: z"}}', '{"a": [1, 2], "b": {"c": "x, y: z"}}']
    )
    def test_an_edited_text_is_spelled_as_before(self, sight: Sight, text: str) -> None:
        code = "return m.spelledAs(given[0], m.plainLines(given[0]).join('\\n').replace('2', '3'))"
        assert run(sight, "bodies", code, text) == text.replace("2", "3")

    def test_what_has_a_layout_of_its_own_stays_as_edited(self, sight: Sight) -> None:
        code = "return m.spelledAs(given[0], given[1])"
        edited = '{\n   "a": 2\n}'
        assert run(sight, "bodies", code, '{ "a" : 1}', edited) == edited


class TestDifferences:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("a b c d", "a x c d e"),
            ("", "a"),
            ("a", ""),
            ("same", "same"),
            ("x a y a z", "a a"),
            ("11:20:07Z", "11:58:12Z"),
        ],
    )
    def test_both_sides_can_be_put_together_again(self, sight: Sight, old: str, new: str) -> None:
        left, right = run(sight, "diff", "return m.marked(given[0], given[1])", old, new)
        assert "".join(text for text, _ in left) == old
        assert "".join(text for text, _ in right) == new
        kept = ["".join(text for text, changed in side if not changed) for side in (left, right)]
        assert kept[0] == kept[1]


class TestEvents:
    def test_however_they_are_cut(self, sight: Sight) -> None:
        text = (
            ": hello\r\n\r\nid: 7\ndata: one\ndata: two\n\nevent: x\rdata:three\r\rdata: 4\r\n\r\n"
        )
        code = """
          return given[1].map((size) => {
            const found = [];
            const feed = m.reader((event) => found.push([event.event, event.data, event.id]));
            for (let at = 0; at < given[0].length; at += size) feed(given[0].slice(at, at + size));
            return found;
          });
        """
        expected = [["message", "one\ntwo", "7"], ["x", "three", "7"], ["message", "4", "7"]]
        assert run(sight, "sse", code, text, [1, 2, 3, 5, 100]) == [expected] * 5


class TestGrpc:
    def test_messages_without_a_schema(self, sight: Sight) -> None:
        # 1: "Stock", 2: 150, 3: {1: "B4", 2: 1.5 as a double}, 4: bytes that are no text
        inner = b"\x0a\x02B4\x11" + struct.pack("<d", 1.5)
        message = b"\x0a\x05Stock\x10\x96\x01\x1a" + bytes([len(inner)]) + inner
        message += b"\x22\x02\xff\xfe"
        framed = b"\0" + struct.pack(">I", len(message)) + message
        code = """
          const data = Uint8Array.from(given[0]);
          return m.messages(data).map((each) => [each.at, m.told(each)]);
        """
        told = '{"1": "Stock", "2": 150, "3": {"1": "B4", "2": 1.5}, "4": "ff fe"}'
        found = run(sight, "grpc", code, list(framed * 2 + framed[:9]))
        assert found == [[0, told], [len(framed), told], [2 * len(framed), ""]]

    def test_they_come_with_the_chunk_that_has_their_end(self, sight: Sight) -> None:
        message = b"\0" + struct.pack(">I", 3) + b"\x0a\x01x"
        data = base64.b64encode(message * 3).decode()
        answer = body(data, "application/grpc", encoding="base64", size_bytes=len(message) * 3)
        chunks = [{"size_bytes": size, "delay_ms": 10} for size in (4, 12, 8)]
        detail = {"response": {"body": answer, "chunks": chunks}, "frames": None}
        code = "return m.piecesOf(given[0]).map((each) => [each.at, each.text])"
        expected = [[20, '{"1": "x"}'], [20, '{"1": "x"}'], [30, '{"1": "x"}']]
        assert run(sight, "pieces", code, detail) == expected

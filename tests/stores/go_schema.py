"""Version 1 as the Go program's ``encoding/json`` would accept it, and nothing looser.

Fields that buffr adds are listed here one by one: a new one must be written
down, and must not be one of Go's under another type.
"""

from __future__ import annotations

import base64
import json
from typing import Any

HTTP_REQUEST = {"method", "host", "path", "query", "headers", "body"}
HTTP_RESPONSE = {"status", "headers", "body", "body_b64", "body_chunks"}
ADDED_TO_REQUEST = {
    "scheme", "port", "raw_headers", "header_encoding", "body_b64", "body_file", "body_size"
}  # fmt: skip
ADDED_TO_RESPONSE = {
    "reason", "raw_headers", "header_encoding", "body_file", "body_size", "chunks", "trailers"
}  # fmt: skip
ADDED_TO_ELEMENT = {"seal"}
ADDED_TO_EXCHANGE = {"end", "recorded_at", "recorded_by"}


def interactions(text: bytes) -> list[dict[str, Any]]:
    """Check a whole cassette; returns its interactions."""
    assert text.endswith(b"\n  ]\n}\n")
    cassette = json.loads(text)
    assert set(cassette) <= {"version", "salt", "interactions"}
    assert cassette["version"] == 1
    for element in cassette["interactions"]:
        check_element(element)
    found: list[dict[str, Any]] = cassette["interactions"]
    return found


def check_element(element: dict[str, Any]) -> None:
    assert set(element) - ADDED_TO_ELEMENT == {"type", element["type"]}
    if element["type"] != "http":
        assert element["type"] == "websocket"
        return
    exchange = element["http"]
    assert {"request", "response"} <= set(exchange)
    assert set(exchange) <= {"request", "response", "match"} | ADDED_TO_EXCHANGE
    _request(exchange["request"])
    _response(exchange["response"])
    for capture in exchange.get("match", {}).get("captures", []):
        assert set(capture) == {"pattern", "captured"}
        assert all(isinstance(value, str) for value in capture.values())


def _request(request: dict[str, Any]) -> None:
    assert {"method", "path"} <= set(request) <= HTTP_REQUEST | ADDED_TO_REQUEST
    for name in HTTP_REQUEST - {"headers"}:
        assert isinstance(request.get(name, ""), str)
    _headers(request.get("headers", {}))


def _response(response: dict[str, Any]) -> None:
    assert "status" in response
    assert set(response) <= HTTP_RESPONSE | ADDED_TO_RESPONSE
    assert type(response["status"]) is int
    assert isinstance(response.get("body", ""), str)
    base64.b64decode(response.get("body_b64", ""), validate=True)
    _headers(response.get("headers", {}))
    assert len({"body", "body_b64", "body_chunks", "body_file"} & set(response)) <= 1
    for chunk in response.get("body_chunks", []):
        assert set(chunk) <= {"data", "data_b64", "delay_ms"}
        assert type(chunk["delay_ms"]) is int


def _headers(headers: dict[str, Any]) -> None:
    assert list(headers) == sorted(headers)
    for values in headers.values():
        assert isinstance(values, list)
        assert values
        assert all(isinstance(value, str) for value in values)


def go_body(response: dict[str, Any]) -> bytes:
    """The bytes that the Go program replays."""
    if response.get("body_chunks"):
        return b"".join(_decoded(c, "data") for c in response["body_chunks"])
    return _decoded(response, "body")


def _decoded(record: dict[str, Any], name: str) -> bytes:
    if record.get(f"{name}_b64"):
        return base64.b64decode(record[f"{name}_b64"])
    return str(record.get(name, "")).encode()

"""WireMock stub mappings: one JSON file, as its admin API imports them."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from hashlib import sha256
from typing import Any

import msgspec

from buffr.interaction import HTTPInteraction, Interaction
from buffr.interchange.exported import Exported, NotExported, usual_losses
from buffr.message import Headers, media_type
from buffr.origin import Origin

__all__ = ["WireMockWriter"]

_STARTED = "Started"


class WireMockWriter:
    """Writes stubs. Repeated requests become the steps of a scenario."""

    beginning = b'{"mappings": [\n'
    between = b",\n"
    end = b"\n]}\n"

    def __init__(self, _origin: Origin | None = None) -> None:
        self._seen: Counter[tuple[bytes, bytes, bytes]] = Counter()

    def write(self, interaction: Interaction) -> Exported:
        """One stub. Raises ``NotExported`` for a WebSocket session."""
        if not isinstance(interaction, HTTPInteraction):
            raise NotExported("WireMock has no stubs of WebSocket sessions")
        if not interaction.whole:
            raise NotExported(f"its answer is not whole: {interaction.truncated}")
        request, response = interaction.request, interaction.response
        losses = [*usual_losses(interaction), "the host", "header fields of the request"]
        wanted: dict[str, Any] = {
            "method": request.method.decode("latin-1"),
            "url": request.target.decode("latin-1"),
        }
        if request.body.data:
            wanted["bodyPatterns"] = [_pattern(request.body.data, request.headers)]
        answer: dict[str, Any] = {
            "status": response.status,
            "headers": _fields(response.headers),
            "base64Body": b64encode(interaction.body.data).decode(),
        }
        if response.reason:
            answer["statusMessage"] = response.reason.decode("latin-1")
        delay = sum(chunk.delay_ms for chunk in interaction.chunks)
        if delay and len(interaction.chunks) == 1:
            answer["fixedDelayMilliseconds"] = delay
        stub = {"request": wanted, "response": answer, **self._step(interaction)}
        return Exported(msgspec.json.encode(stub), tuple(losses))

    def _step(self, interaction: HTTPInteraction) -> dict[str, str]:
        request = interaction.request
        key = (request.method, request.target, request.body.data)
        number = self._seen[key]
        self._seen[key] += 1
        name = f"{request.method.decode('latin-1')} {request.target.decode('latin-1')}"
        if request.body.data:
            name += f" {sha256(request.body.data).hexdigest()[:8]}"
        state = _STARTED if not number else f"{number}"
        return {
            "scenarioName": name,
            "requiredScenarioState": state,
            "newScenarioState": f"{number + 1}",
        }


def _pattern(data: bytes, headers: Headers) -> dict[str, Any]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return {"binaryEqualTo": b64encode(data).decode()}
    return {"equalToJson" if media_type(headers).endswith(b"json") else "equalTo": text}


def _fields(headers: Headers) -> dict[str, str | list[str]]:
    fields: dict[str, list[str]] = {}
    for name, value in headers:
        fields.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}

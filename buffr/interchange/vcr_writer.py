"""Cassettes of VCR.py: YAML, version 1."""

from __future__ import annotations

import yaml

from buffr.interaction import HTTPInteraction, Interaction
from buffr.interchange.exported import Exported, NotExported, url_of, usual_losses
from buffr.message import Headers
from buffr.origin import Origin

__all__ = ["VCRWriter"]

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class VCRWriter:
    """Writes interactions; ``origin`` is for those that have no host.

    Bodies keep the coding that ``Content-Encoding`` names, which VCR.py
    hands to the client as it is.
    """

    beginning = b"interactions:\n"
    between = b""
    end = b"version: 1\n"

    def __init__(self, origin: Origin | None = None) -> None:
        self._origin = origin

    def write(self, interaction: Interaction) -> Exported:
        """One interaction. Raises ``NotExported`` for a WebSocket session."""
        if not isinstance(interaction, HTTPInteraction):
            raise NotExported("VCR.py has no WebSocket sessions")
        if not interaction.whole:
            raise NotExported(f"its answer is not whole: {interaction.truncated}")
        request, response = interaction.request, interaction.response
        losses = usual_losses(interaction)
        value = {
            "request": {
                "body": _body(request.body.data) if request.body.data else None,
                "headers": _fields(request.headers, losses),
                "method": request.method.decode("latin-1"),
                "uri": url_of(request, self._origin),
            },
            "response": {
                "body": {"string": _body(interaction.body.data)},
                "headers": _fields(response.headers, losses),
                "status": {"code": response.status, "message": response.reason.decode("latin-1")},
            },
        }
        text: bytes = yaml.dump([value], Dumper=_DUMPER, encoding="utf-8", allow_unicode=True)
        return Exported(text, tuple(losses))


def _body(data: bytes) -> str | bytes:
    """Text where YAML can hold it as it is, else bytes."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return data
    return data if yaml.reader.Reader.NON_PRINTABLE.search(text) else text


def _fields(headers: Headers, losses: list[str]) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    lower: dict[str, str] = {}
    for name, value in headers:
        text = name.decode("latin-1")
        first = lower.setdefault(text.lower(), text)
        fields.setdefault(first, []).append(value.decode("latin-1"))
    if any(len(values) > 1 for values in fields.values()):
        _add(losses, "the place of repeated header fields among others")
    return fields


def _add(losses: list[str], what: str) -> None:
    if what not in losses:
        losses.append(what)

"""The requests of a cassette as a shell script of curl commands."""

from __future__ import annotations

import shlex

from buffr.interaction import HTTPInteraction, Interaction
from buffr.interchange.exported import Exported, NotExported, url_of
from buffr.origin import Origin

__all__ = ["CurlWriter"]

_BY_CURL = frozenset((b"content-length", b"host", b"accept-encoding"))


class CurlWriter:
    """Writes commands; ``origin`` is for interactions that have no host."""

    beginning = b"#!/bin/sh\n"
    between = b""
    end = b""

    def __init__(self, origin: Origin | None = None) -> None:
        self._origin = origin

    def write(self, interaction: Interaction) -> Exported:
        """One command. Raises ``NotExported`` for a WebSocket session."""
        if not isinstance(interaction, HTTPInteraction):
            raise NotExported("curl speaks no WebSocket sessions by itself")
        request = interaction.request
        words = ["curl", "--globoff", "--path-as-is", "--include"]
        if request.method == b"HEAD":
            words.append("--head")
        elif request.method != b"GET" or request.body.data:
            words += ["--request", request.method.decode("latin-1")]
        for name, value in request.headers:
            if name.lower() not in _BY_CURL:
                shown = f"{name.decode('latin-1')}: {value.decode('latin-1')}"
                words += ["--header", shown if value else f"{name.decode('latin-1')};"]
        if any(name.lower() == b"accept-encoding" for name, _ in request.headers):
            words.append("--compressed")
        before, data = "", request.body.data
        if data:
            before, word = _data(data)
            words += ["--data-binary", word]
        words.append(url_of(request, self._origin))
        return Exported(f"{before}{shlex.join(words)}\n".encode(), ("the answer",))


def _data(data: bytes) -> tuple[str, str]:
    """The command that feeds curl the body, and curl's option for it."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if text and not text.startswith("@") and "\0" not in text:
        return "", text
    octal = "".join(f"\\{byte:03o}" for byte in data)
    return f"printf '{octal}' | ", "@-"

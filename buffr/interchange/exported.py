"""An interaction as another tool has it, and what that tool cannot hold."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from buffr.errors import BuffrError
from buffr.interaction import Body, HTTPInteraction, Interaction, RecordedRequest
from buffr.origin import Origin

__all__ = ["Exported", "NotExported", "Writer", "in_memory", "url_of", "usual_losses"]


class NotExported(BuffrError):
    """An interaction that a format cannot hold at all."""


@frozen
class Exported:
    """A piece of the file, and what of the interaction is not in it, in words."""

    text: bytes
    losses: tuple[str, ...] = ()


class Writer(Protocol):
    """A format that interactions are written in, one after another."""

    beginning: bytes
    between: bytes
    end: bytes

    def write(self, interaction: Interaction) -> Exported:
        """One interaction with its bodies in memory. Raises ``NotExported``."""


def in_memory(interaction: Interaction) -> Interaction:
    """The same with bodies that are in files read. Raises ``OSError``."""
    return interaction.with_bodies(_read)


def _read(body: Body) -> Body:
    return body if body.file is None else Body.of(body.file.read_bytes())


def url_of(request: RecordedRequest, origin: Origin | None, scheme: str | None = None) -> str:
    """The absolute URL. Raises ``NotExported`` where no host is known."""
    host, port, named = request.host, request.port, request.scheme
    if host is None:
        if origin is None:
            raise NotExported("it has no host: --target says which one it is of")
        host, port, named = origin.host, origin.port, origin.scheme
    secure = named == "https"
    literal = f"[{host}]" if ":" in host else host
    usual = port in (None, 443 if secure else 80)
    authority = literal if usual else f"{literal}:{port}"
    shown = scheme if scheme is not None and not secure else f"{scheme}s" if scheme else named
    return f"{shown or 'http'}://{authority}{request.target.decode('latin-1')}"


def usual_losses(interaction: HTTPInteraction) -> list[str]:
    """The losses in formats without streams and trailers."""
    losses = []
    if len(interaction.chunks) > 1:
        losses.append("where the body was cut, and when its pieces came")
    if interaction.trailers:
        losses.append("trailers")
    return losses

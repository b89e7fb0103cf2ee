"""Checks whether interactions can be relied on: their bodies are there, and they are whole."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from buffr.errors import CassetteError
from buffr.interaction import Body, HTTPInteraction, Interaction
from buffr.stores.cassette.checks import stale_cuts
from buffr.stores.cassette.format import decode, decode_index

__all__ = ["element_faults", "interaction_faults"]

_PIECE_BYTES = 1 << 20


def interaction_faults(interaction: Interaction, digests: dict[Path, str]) -> Iterator[str]:
    """What is wrong with a readable interaction. ``digests`` are those of files that were read."""
    for body in interaction.bodies:
        if body.file is not None:
            fault = _body_fault(body, body.file, digests)
            if fault:
                yield f"body file {body.file}: {fault}"
    if not interaction.whole:
        unended = isinstance(interaction, HTTPInteraction) and interaction.unended
        when = "replayed only with end_of_stream: client" if unended else "never replayed"
        yield f"truncated: {interaction.broke_off}; it is {when}"


def element_faults(element: bytes, bodies: Path) -> list[str]:
    """What is wrong with an element of a cassette; ``bodies`` is the directory of body files."""
    try:
        interaction = decode(element, bodies)
    except CassetteError as error:
        return [error.message]
    cuts = [f"{what}: it is replayed whole" for what in stale_cuts(decode_index(element))]
    return [*interaction_faults(interaction, {}), *cuts]


def _body_fault(body: Body, file: Path, digests: dict[Path, str]) -> str:
    """The problem of a body's file, or an empty string. Each file is read once."""
    try:
        size = file.stat().st_size
        if size != body.size_bytes:
            return f"it has {size} bytes, not {body.size_bytes}"
        if file not in digests:
            digests[file] = _digest(file)
    except OSError as error:
        return str(error.strerror)
    return "" if digests[file] == file.name else "its bytes are others than those recorded"


def _digest(file: Path) -> str:
    digest = sha256()
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()

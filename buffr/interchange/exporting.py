"""Writes a cassette in another tool's format, and reports what is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from attrs import define, field

from buffr.errors import CassetteError
from buffr.interchange.curl_writer import CurlWriter
from buffr.interchange.exported import NotExported, Writer, in_memory
from buffr.interchange.har_writer import HARWriter
from buffr.interchange.mitmproxy_writer import MitmproxyWriter
from buffr.interchange.vcr_writer import VCRWriter
from buffr.interchange.wiremock_writer import WireMockWriter
from buffr.origin import Origin
from buffr.stores.cassette.snapshot import Snapshot

__all__ = ["WRITERS", "ExportReport", "ExportTo", "exported"]


class ExportTo(StrEnum):
    """The formats that a cassette is written in, by the names that users give them."""

    HAR = "har"
    VCR = "vcr"
    WIREMOCK = "wiremock"
    MITMPROXY = "mitmproxy"
    CURL = "curl"


WRITERS: MappingProxyType[ExportTo, Callable[[Origin | None], Writer]] = MappingProxyType(
    {
        ExportTo.HAR: HARWriter,
        ExportTo.VCR: VCRWriter,
        ExportTo.WIREMOCK: WireMockWriter,
        ExportTo.MITMPROXY: MitmproxyWriter,
        ExportTo.CURL: CurlWriter,
    }
)


@define
class ExportReport:
    """How many interactions were written, and by number what was not."""

    written: int = 0
    losses: list[tuple[int, str]] = field(factory=list)
    left_out: list[tuple[int, str]] = field(factory=list)

    def counted(self) -> Counter[str]:
        """How many interactions have each loss."""
        return Counter(loss for _, loss in self.losses)

    def as_json(self) -> dict[str, Any]:
        """For ``--report``: members, lists and text."""
        return {
            "written": self.written,
            "losses": [{"interaction": number, "loss": loss} for number, loss in self.losses],
            "left_out": [{"interaction": number, "why": why} for number, why in self.left_out],
        }


def exported(
    snapshot: Snapshot, to: ExportTo, report: ExportReport, origin: Origin | None = None
) -> Iterator[bytes]:
    """The text of the file, piece by piece. Raises ``CassetteError``, and fills the report."""
    writer = WRITERS[to](origin)
    yield writer.beginning
    for number in range(len(snapshot)):
        try:
            interaction = in_memory(snapshot.interaction(number))
        except OSError as error:
            raise CassetteError(f"{error.filename}: {error.strerror}") from error
        try:
            one = writer.write(interaction)
        except NotExported as error:
            report.left_out.append((number, error.message))
            continue
        report.losses += [(number, loss) for loss in one.losses]
        yield writer.between + one.text if report.written else one.text
        report.written += 1
    yield writer.end

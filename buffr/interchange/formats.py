"""Which tool's format a file has, by what is in it; and its reader."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from types import MappingProxyType

from attrs import frozen

from buffr.interchange import (
    go_vcr,
    har,
    hoverfly,
    mitmproxy,
    nock,
    postman,
    talkback,
    vcr,
    wiremock,
)
from buffr.interchange.imported import Imported, NotImported
from buffr.interchange.source import Source, SourceError

__all__ = ["FORMATS", "Format", "Reader", "format_of", "is_cassette"]


class Format(StrEnum):
    """The formats, by the names that users give them."""

    HAR = "har"
    VCR = "vcr"
    MITMPROXY = "mitmproxy"
    WIREMOCK = "wiremock"
    HOVERFLY = "hoverfly"
    GO_VCR = "go-vcr"
    NOCK = "nock"
    TALKBACK = "talkback"
    POSTMAN = "postman"


@frozen
class Reader:
    """``lacks`` is what a format never has, in words."""

    title: str
    read: Callable[[Source], Iterator[Imported | NotImported]]
    lacks: tuple[str, ...]


FORMATS = MappingProxyType(
    {
        Format.HAR: Reader("HAR 1.2", har.read, har.LACKS),
        Format.VCR: Reader(
            "VCR.py, pytest-recording, cassetter, VCR for Ruby, betamax", vcr.read, vcr.LACKS
        ),
        Format.MITMPROXY: Reader("mitmproxy flow dump", mitmproxy.read, mitmproxy.LACKS),
        Format.WIREMOCK: Reader("WireMock mappings", wiremock.read, wiremock.LACKS),
        Format.HOVERFLY: Reader("Hoverfly simulation", hoverfly.read, hoverfly.LACKS),
        Format.GO_VCR: Reader("go-vcr", go_vcr.read, go_vcr.LACKS),
        Format.NOCK: Reader("nock fixture", nock.read, nock.LACKS),
        Format.TALKBACK: Reader("talkback tapes", talkback.read, talkback.LACKS),
        Format.POSTMAN: Reader("Postman collection", postman.read, postman.LACKS),
    }
)

_FLOW = re.compile(rb"[0-9]{1,12}:[0-9]{1,12}:[a-z_]")
_OWN = re.compile(
    rb'\A\s*\{.*"interactions"\s*:\s*\[\s*\{\s*"type"\s*:\s*"(http|websocket)"', re.DOTALL
)
_HAS = tuple(
    (kind, re.compile(pattern, re.DOTALL | re.MULTILINE))
    for kind, pattern in (
        (Format.HAR, rb'\A\s*\{.*"entries"\s*:\s*\['),
        (Format.HOVERFLY, rb'\A\s*\{.*"pairs"\s*:\s*\['),
        (Format.POSTMAN, rb'\A\s*\{.*(schema\.getpostman\.com|"_postman_id")'),
        (Format.NOCK, rb'\A\s*\[\s*\{[^}]*"scope"\s*:'),
        (Format.VCR, rb'\A\s*\{.*"(http_)?interactions"\s*:\s*\['),
        (Format.WIREMOCK, rb'\A\s*\{.*"request"\s*:\s*\{.*"response"\s*:\s*\{'),
        (Format.WIREMOCK, rb'\A\s*\{\s*"mappings"\s*:\s*\['),
        (Format.TALKBACK, rb"\A\s*\{\s*meta:\s*\{"),
        (Format.VCR, rb"^(http_)?interactions:\s+-\s+request:.*?^ +uri: "),
        (Format.GO_VCR, rb"^ *url: .*^ *(code|duration): |^ *(code|duration): .*^ *url: "),
        (Format.VCR, rb"^(http_)?interactions:|^\[\[interactions\]\]"),
    )
)


def is_cassette(source: Source) -> bool:
    """Whether a file is buffr's own, as a reader has to be none of the others.

    Raises ``SourceError`` where it cannot be read.
    """
    return source.path.is_file() and _OWN.search(source.beginning()) is not None


def format_of(source: Source) -> Format | None:
    """The format of a file or a directory; ``None`` for one that no reader knows.

    Raises ``SourceError`` where it cannot be read.
    """
    if source.path.is_dir():
        return _format_of_directory(source)
    if source.is_archive:
        return Format.HAR if any(name.endswith(".har") for name in source.members()) else None
    beginning = source.beginning()
    if _OWN.search(beginning):
        raise SourceError(f"{source.path}: it is a cassette of buffr already")
    if _FLOW.match(beginning):
        return Format.MITMPROXY
    for kind, pattern in _HAS:
        if pattern.search(beginning):
            return kind
    return None


def _format_of_directory(source: Source) -> Format | None:
    """Of directories, those that are one recording: mappings and tapes."""
    if (source.path / "mappings").is_dir():
        return Format.WIREMOCK
    if any(source.path.glob("*.json5")):
        return Format.TALKBACK
    if source.path.name == "mappings" and any(source.path.glob("*.json")):
        return Format.WIREMOCK
    return None

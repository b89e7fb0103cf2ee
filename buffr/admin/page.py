"""The files of the live page, as they are in the package."""

from __future__ import annotations

import gzip
import re
from hashlib import blake2b
from pathlib import Path

from attrs import define, field

from buffr.admin.answers import Reply

__all__ = ["STATIC", "StaticFiles"]

STATIC = Path(__file__).with_name("static")
_INDEX = "index.html"
_TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".mjs": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".png": b"image/png",
    ".json": b"application/json",
    ".txt": b"text/plain; charset=utf-8",
}
_TAKES_GZIP = re.compile(rb"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))", re.IGNORECASE)
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    b"connect-src 'self'; frame-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'"
)
"""No inline code, and nothing from elsewhere."""
_WITHOUT_PAGE = (
    b"buffr's admin listener. This installation has no page; /openapi.json describes the API.\n"
)


@define(eq=False)
class StaticFiles:
    """Answers ``/`` and what is below ``/static/`` with the files of a directory.

    Only files that are there when it is made are answered, each read once.
    """

    directory: Path = STATIC
    _known: dict[str, Path] = field(init=False)
    _read: dict[tuple[str, bool], tuple[bytes, bytes]] = field(init=False, factory=dict)

    @_known.default
    def _files(self) -> dict[str, Path]:
        return {
            path.relative_to(self.directory).as_posix(): path
            for path in sorted(self.directory.rglob("*"))
            if path.suffix in _TYPES and path.is_file()
        }

    def find(self, path: str, known: bytes | None, codings: bytes | None) -> Reply | None:
        """The file of a path without its first slash; ``None`` if there is no such file.

        ``known`` is the client's ``If-None-Match``, ``codings`` its ``Accept-Encoding``.
        """
        name = _INDEX if path == "" else path.removeprefix("static/")
        if path and name == path:
            return None
        file = self._known.get(name)
        if file is None:
            return Reply(_WITHOUT_PAGE, media_type=_TYPES[".txt"]) if path == "" else None
        zipped = _TAKES_GZIP.search(codings or b"") is not None
        data, tag = self._representation(name, file, zipped=zipped)
        headers = (
            (b"ETag", tag),
            (b"Cache-Control", b"no-cache"),
            (b"Vary", b"Accept-Encoding"),
            (b"Content-Security-Policy", _POLICY),
            *(((b"Content-Encoding", b"gzip"),) if zipped else ()),
        )
        if known is not None and tag in known:
            return Reply(status=304, media_type=_TYPES[file.suffix], headers=headers)
        return Reply(data, media_type=_TYPES[file.suffix], headers=headers)

    def _representation(self, name: str, file: Path, *, zipped: bool) -> tuple[bytes, bytes]:
        """The bytes to send and their tag; made once. The largest file takes 3 ms to compress."""
        kept = self._read.get((name, zipped))
        if kept is None:
            data = file.read_bytes()
            if zipped:
                data = gzip.compress(data, mtime=0)
            kept = data, b'"%b"' % blake2b(data, digest_size=12).hexdigest().encode()
            self._read[name, zipped] = kept
        return kept

"""The source of an import: a file, a directory, or an archive, within limits."""

from __future__ import annotations

import json
import mmap
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import msgspec
from attrs import frozen

from buffr.errors import BuffrError
from buffr.interchange.imported import NotImported

__all__ = ["ImportLimits", "Source", "SourceError", "converted", "shaped"]

T = TypeVar("T")

_TO_STRUCTURE = re.compile(rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+', re.DOTALL)
_BETWEEN = re.compile(rb"[\s,]*+")
_OPENING, _CLOSING = b"{[", b"}]"


class SourceError(BuffrError):
    """A file that cannot be imported as a whole."""


@frozen
class ImportLimits:
    """The limits for untrusted files."""

    whole_bytes: int = 256 << 20
    """A file that has to be read as a whole."""
    element_bytes: int = 256 << 20
    """One interaction of a file that is read piece by piece."""
    file_bytes: int = 256 << 20
    """A body in a file of its own, unpacked."""
    depth: int = 100
    aliases: int = 100_000
    files: int = 100_000


@frozen
class Source:
    """A file by path, and the files beside it that it may name."""

    path: Path
    limits: ImportLimits = ImportLimits()

    @property
    def is_archive(self) -> bool:
        return self.path.suffix == ".zip"

    def whole(self) -> bytes:
        """All of it. Raises ``SourceError``."""
        with self._errors():
            size = self.path.stat().st_size
            if size > self.limits.whole_bytes:
                raise SourceError(f"{self.path}: {size >> 20} MiB are too many to be read at once")
            return self.path.read_bytes()

    def beginning(self, size_bytes: int = 65536) -> bytes:
        with self._errors(), self.path.open("rb") as file:
            return file.read(size_bytes)

    def beside(self, name: str) -> bytes:
        """A file that this one names: beside it, or in the same archive. Raises ``NotImported``."""
        inner = PurePosixPath(name)
        if inner.is_absolute() or ".." in inner.parts or "\\" in name:
            raise NotImported(f"it names a file outside: {name!r}")
        if self.is_archive:
            return self._member(str(inner))
        path = self.path.parent / inner
        try:
            if path.stat().st_size > self.limits.file_bytes:
                raise NotImported(f"{path} is too large")
            return path.read_bytes()
        except OSError as error:
            raise NotImported(f"{path}: {error.strerror}") from error

    def _member(self, name: str) -> bytes:
        with self._errors(), zipfile.ZipFile(self.path) as archive:
            try:
                info = archive.getinfo(name)
            except KeyError as error:
                raise NotImported(f"{self.path} has no file {name!r}") from error
            if info.file_size > self.limits.file_bytes:
                raise NotImported(f"{name} in {self.path} is too large")
            with archive.open(info) as member:
                data = member.read(self.limits.file_bytes + 1)
            if len(data) > self.limits.file_bytes:
                raise NotImported(f"{name} in {self.path} is too large")
            return data

    def members(self) -> list[str]:
        """The names in an archive. Raises ``SourceError``."""
        with self._errors(), zipfile.ZipFile(self.path) as archive:
            names = archive.namelist()
        if len(names) > self.limits.files:
            raise SourceError(f"{self.path}: {len(names)} files are too many")
        return names

    def elements(self, key: str) -> Iterator[bytes]:
        """The elements of the first list under this key, one by one, as JSON text.

        Raises ``SourceError`` where there is none, or where the file ends too early.
        """
        begins = re.compile(rb'(?<!\\)"%b"\s*:\s*\[' % re.escape(key.encode()))
        if self.is_archive:
            yield from self._elements(self._member(_har_of(self.members())), begins)
            return
        with self._errors(), self.path.open("rb") as file:
            if not self.path.stat().st_size:
                raise SourceError(f"{self.path} is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
                yield from self._elements(text, begins)

    def _elements(self, text: bytes | mmap.mmap, begins: re.Pattern[bytes]) -> Iterator[bytes]:
        found = begins.search(text)
        if found is None:
            raise SourceError(f"{self.path}: there is no list of interactions in it")
        at = _past(_BETWEEN, text, found.end())
        while text[at : at + 1] == b"{":
            end = self._end_of(text, at)
            yield text[at:end]
            if isinstance(text, mmap.mmap):
                with suppress(ValueError, OSError):
                    text.madvise(mmap.MADV_DONTNEED, 0, end & ~(mmap.PAGESIZE - 1))
            at = _past(_BETWEEN, text, end)
        if text[at : at + 1] != b"]":
            raise SourceError(f"{self.path}: at byte {at} an interaction or ']' is expected")

    def _end_of(self, text: bytes | mmap.mmap, start: int) -> int:
        depth, at = 0, start
        match, limit = _TO_STRUCTURE.match, self.limits
        while True:
            at = _past_match(match(text, at))
            mark = text[at : at + 1]
            if not mark or at - start > limit.element_bytes:
                raise SourceError(f"{self.path}: the interaction at byte {start} does not end")
            if mark in _OPENING:
                depth += 1
                if depth > limit.depth:
                    raise SourceError(f"{self.path}: the interaction at byte {start} is too deep")
            elif mark in _CLOSING:
                depth -= 1
                if not depth:
                    return at + 1
            else:
                raise SourceError(f"{self.path}: a string at byte {at} does not end")
            at += 1

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SourceError(f"{self.path}: {error.strerror}") from error
        except zipfile.BadZipFile as error:
            raise SourceError(f"{self.path}: {error}") from error


def _har_of(names: list[str]) -> str:
    for name in names:
        if name.endswith(".har"):
            return name
    raise SourceError("there is no .har file in the archive")


def _past(pattern: re.Pattern[bytes], text: bytes | mmap.mmap, at: int) -> int:
    return _past_match(pattern.match(text, at))


def _past_match(found: re.Match[bytes] | None) -> int:
    assert found is not None  # these patterns match nothing, too
    return found.end()


def shaped(text: bytes | str, kind: type[T]) -> T:
    """JSON text as a value of a type. Raises ``NotImported``."""
    try:
        return msgspec.json.decode(text, type=kind, strict=False)
    except msgspec.ValidationError as error:
        raise NotImported(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return converted(_lenient(text), kind)


def _lenient(text: bytes | str) -> Any:
    """The same with lone surrogates, which some tools write for bytes that are not text."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig", "surrogateescape")
        return json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        raise NotImported(f"it is not JSON: {error}") from error


def converted(value: Any, kind: type[T]) -> T:
    """Plain values, as JSON and YAML have them, as a value of a type. Raises ``NotImported``."""
    try:
        return msgspec.convert(value, type=kind, strict=False)
    except (msgspec.ValidationError, UnicodeError, RecursionError) as error:
        raise NotImported(str(error)) from error

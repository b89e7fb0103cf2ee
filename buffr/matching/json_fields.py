"""Fields of JSON bodies that make no difference, named by JSONPaths (RFC 9535)."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any, Protocol

from attrs import frozen

from buffr.matching.canonical_json import canonical_edited

__all__ = ["JSONFields"]


class _Found(Protocol):
    parts: tuple[int | str, ...]


class _Path(Protocol):
    def finditer(self, data: Any) -> Iterable[_Found]: ...


@frozen(eq=False)
class JSONFields:
    """Takes what its paths find out of a document."""

    paths: tuple[_Path, ...] = ()

    @classmethod
    def of(cls, paths: tuple[str, ...]) -> tuple[JSONFields, tuple[str, ...]]:
        """The paths that are valid, and a warning for each one that is not."""
        if not paths:
            return cls(), ()
        try:
            # Only rules need python-jsonpath, and few settings have any.
            library: Any = import_module("jsonpath")
        except ImportError:
            return cls(), ("match.json: the package python-jsonpath is missing; skipped",)
        compiled: list[_Path] = []
        warnings: list[str] = []
        for place, path in enumerate(paths):
            try:
                compiled.append(library.compile(path, strict=True))
            except library.JSONPathError as error:
                reason = str(error.args[0]) if error.args else "no valid path"
                warnings.append(f"match.json[{place}]: {path!r}: {reason}; skipped")
        return cls(tuple(compiled)), tuple(warnings)

    def canonical(self, body: bytes) -> bytes | None:
        """The one spelling of a JSON body without the fields; ``None`` for what is not JSON."""
        return canonical_edited(body, self._without)

    def _without(self, document: object) -> object:
        # The library would parse a string once more.
        if not isinstance(document, dict | list):
            return document
        places: set[tuple[int | str, ...]] = set()
        for path in self.paths:
            try:
                places.update([found.parts for found in path.finditer(document)])
            except RecursionError:
                # ".." goes less deep than documents may: by a limit of its own, the same each time.
                continue
        for place in places:
            if not place:
                return None
            _take_out(document, place)
        return document


def _take_out(document: Any, place: tuple[int | str, ...]) -> None:
    """Remove a member; put ``null`` in an element's place, so that the others keep theirs."""
    *above, last = place
    holder = document
    for part in above:
        try:
            holder = holder[part]
        except (KeyError, TypeError):
            return
    if isinstance(holder, dict):
        holder.pop(last, None)
    elif isinstance(holder, list) and isinstance(last, int):
        holder[last] = None

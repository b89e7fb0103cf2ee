"""What differs from answer to answer although nothing has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache

from attrs import evolve, field, frozen

from buffr.drift.finding import ANY, Finding, Place, Severity, Spot
from buffr.formats.json_paths import NOWHERE, BadPath, JSONPath, Walk, walk_along
from buffr.matching.noise import noise_between, whole_noise
from buffr.matching.suggestion import json_path
from buffr.redaction.pseudonym import COUNTED_MARK, MARK, is_pseudonym

__all__ = ["Noise", "VolatileRule", "is_habitual"]

_NEW_VALUE = "has a new value"


@frozen
class VolatileRule:
    """Values that are new in every answer: of JSON at ``json`` paths, of ``headers``.

    It holds for requests whose path matches ``path``, in which ``*`` stands
    for any characters. Names of headers are in lower case.
    """

    path: str = "*"
    json: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()

    def fits(self, target: bytes) -> bool:
        """Whether it holds for a request with this target."""
        return fnmatchcase(target.partition(b"?")[0].decode("latin-1"), self.path)


@frozen
class Noise:
    """The spots whose values are noise, and those whose presence or type is.

    ``rules`` are what the settings say beside what was learnt.
    """

    values: frozenset[Spot] = frozenset()
    structures: frozenset[Spot] = frozenset()
    rules: tuple[VolatileRule, ...] = ()
    _headers: frozenset[str] = field(init=False)

    @_headers.default
    def _headers_of_rules(self) -> frozenset[str]:
        return frozenset([f"header {name}" for rule in self.rules for name in rule.headers])

    def learning(self, between: Iterable[Finding]) -> Noise:
        """With what differs ``between`` two live answers to the same request."""
        values, structures = set(self.values), set(self.structures)
        for finding in between:
            is_value = finding.severity is Severity.VALUE or finding.what == _NEW_VALUE
            (values if is_value else structures).add(finding.spot)
        return evolve(self, values=frozenset(values), structures=frozenset(structures))

    def hides(self, finding: Finding) -> bool:
        """Whether a finding says nothing."""
        part, place = finding.spot
        if any((part, place[:length]) in self.structures for length in range(len(place) + 1)):
            return True
        if finding.severity is not Severity.VALUE and finding.what != _NEW_VALUE:
            return False
        return finding.spot in self.values or part in self._headers or self._ruled(place)

    def _ruled(self, place: Place) -> bool:
        paths = tuple(path for rule in self.rules for path in rule.json)
        return bool(paths) and _leads_to(_walk(paths), place)

    def as_rule(self, target: bytes) -> VolatileRule | None:
        """What was learnt, as a rule for requests like this one; ``None`` for nothing."""
        path = _pattern_of(target)
        spots = sorted(self.values | self.structures, key=str)
        json = [json_path(place, general=True) for _, place in spots if place]
        headers = [part.removeprefix("header ") for part, _ in spots if part.startswith("header ")]
        rule = VolatileRule(path, tuple(dict.fromkeys(json)), tuple(dict.fromkeys(headers)))
        return rule if rule.json or rule.headers else None


def _pattern_of(target: bytes) -> str:
    """The path of a target, with ``*`` for identifiers."""
    segments = target.partition(b"?")[0].decode("latin-1").split("/")
    return "/".join("*" if _is_identifier(segment) else segment for segment in segments)


def _is_identifier(segment: str) -> bool:
    return segment.isdigit() or whole_noise(segment) is not None


@lru_cache(maxsize=256)
def _walk(paths: tuple[str, ...]) -> Walk:
    made = []
    for path in paths:
        try:
            made.append(JSONPath.of(path))
        except BadPath:
            continue  # the settings were checked; this comes from an older buffr
    return walk_along(made)


def _leads_to(walk: Walk, place: Place) -> bool:
    """Whether a walk selects a place, or what holds it."""
    for step in place:
        if walk.ends:
            return True
        if isinstance(step, str):
            walk = walk.member(step)
        else:
            walk = walk.element(0) if step == ANY else NOWHERE
    return walk.ends


def is_habitual(name: str, old: object, new: object, is_known: Callable[[str, str], bool]) -> bool:
    """Whether two values differ as they do in any two answers: identifiers, times, tokens.

    ``name`` is the member's. ``is_known`` says whether the live value takes
    the place of the recorded one in later requests.
    """
    if isinstance(old, bool | list | dict) or isinstance(new, bool | list | dict):
        return False
    before, after = str(old), str(new)
    if is_known(before, after):
        return True
    kind = whole_noise(before, name)
    if kind is not None and kind == whole_noise(after, name):
        return True
    if isinstance(old, str) and isinstance(new, str):
        return _are_stand_ins(before, after) or bool(noise_between(before, after))
    return False


def _are_stand_ins(old: str, new: str) -> bool:
    """Whether both are stand-ins for credentials of one name."""
    before, after = old.encode("utf-8", "surrogatepass"), new.encode("utf-8", "surrogatepass")
    if not (is_pseudonym(before) and is_pseudonym(after)):
        return False
    return _without_digest(before) == _without_digest(after)


def _without_digest(stand_in: bytes) -> Sequence[bytes]:
    for mark, sign in ((MARK, b"-"), (COUNTED_MARK, b"_")):
        if stand_in.startswith(mark):
            name, _, digest = stand_in.rpartition(sign)
            return (name,) if len(digest) == 8 and name != mark[:-1] else (stand_in,)
    return (stand_in[:8],)  # a form of a UUID or of hexadecimal digits

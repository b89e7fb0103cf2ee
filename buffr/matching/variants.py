"""Variants: recordings of one key that differ in header fields of the request.

An identity has the keys of a live request's recordings, and what selects among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from attrs import define, field, frozen

from buffr.matching.header_table import HeaderClass, class_of, row_of
from buffr.matching.key import KeyPart, MatchKey, Variant
from buffr.message import Headers
from buffr.redaction.for_keys import KeyRedaction
from buffr.redaction.pseudonym import COUNTED_MARK, MARK, STAND_IN

__all__ = [
    "Identity",
    "Selecting",
    "VariantDifference",
    "identity_of",
    "loosened",
    "names_in_vary",
    "variant_of",
]

_MOST_COMPARED = 256
_ANYTHING = {"accept": b"*/*", "accept-language": b"*"}
"""What an absent field means (RFC 9110 12.4.1); one that is sent empty says no more."""

_LISTS = frozenset(("accept", "accept-language", "accept-charset"))
_MOST_VARY = 64


@frozen
class VariantDifference:
    """A field in which a live request differs from a recorded variant.

    ``None`` is an absent field. ``rule`` says why it counts.
    """

    name: str
    recorded: bytes | None
    live: bytes | None
    rule: str


def _as_set(value: bytes) -> bytes:
    """A list whose order, white space and repetitions do not count."""
    items = {b"".join(item.split()).lower() for item in value.split(b",")}
    return b", ".join(sorted(items - {b""}))


def _comparable(name: str, value: bytes) -> bytes:
    listed = name in _LISTS or class_of(name.encode("latin-1")) is HeaderClass.VARIANT
    return _as_set(value) if listed else value


def _as_sent(_: bytes, value: bytes) -> bytes:
    return value


@define(eq=False)
class Selecting:
    """The fields of a live request that may select among recordings: lower-case names, values.

    Several fields with the same name are one list (RFC 9110 5.3). Credentials
    and noise are not among them. ``compared_form`` takes a name and a value,
    and returns what is compared. Few fields are ever compared, so it is asked
    for those alone.
    """

    fields: tuple[tuple[bytes, bytes], ...] = ()
    compared_form: Callable[[bytes, bytes], bytes] = _as_sent
    compared: dict[Variant | None, tuple[VariantDifference, ...]] = field(init=False)
    """The differences from each variant that was checked; ``None`` fits every request."""
    _values: dict[str, bytes | None] = field(init=False, factory=dict)
    """Those that were asked for."""
    _fixed: tuple[KeyPart, ...] = field(init=False)

    @compared.default
    def _nothing_compared(self) -> dict[Variant | None, tuple[VariantDifference, ...]]:
        return {None: ()}

    @_fixed.default
    def _always_choosing(self) -> tuple[KeyPart, ...]:
        variant = HeaderClass.VARIANT
        names = {name for name, _ in self.fields if row_of(name).header_class is variant}
        if not names:
            return ()
        texts = sorted(name.decode("latin-1") for name in names)
        return tuple([(text, self.value(text) or b"") for text in texts])

    def value(self, name: str) -> bytes | None:
        """A field's comparable value: the meaning of its absence, or ``None``."""
        try:
            return self._values[name]
        except KeyError:
            value = self._values[name] = self._value(name)
            return value

    def _value(self, name: str) -> bytes | None:
        sought, form = name.encode("latin-1"), self.compared_form
        found = [form(sought, value) for key, value in self.fields if key == sought]
        value = _comparable(name, b", ".join(found)) if found else None
        return value or _ANYTHING.get(name, value)

    def differences(self, variant: Variant | None) -> tuple[VariantDifference, ...]:
        """How the request differs from a variant; empty if it does not."""
        known = self.compared.get(variant)
        if known is None:
            if len(self.compared) >= _MOST_COMPARED:
                self.compared = self._nothing_compared()
            assert variant is not None
            known = self.compared[variant] = tuple(self._differences(variant))
        return known

    def _differences(self, variant: Variant) -> Iterator[VariantDifference]:
        if variant.fixed != self._fixed:
            ours, theirs = dict(self._fixed), dict(variant.fixed)
            for name in sorted({**ours, **theirs}):
                if ours.get(name) != theirs.get(name):
                    yield VariantDifference(
                        name, theirs.get(name), ours.get(name), "a variant header"
                    )
        for name, recorded in variant.negotiated:
            live = self.value(name)
            if (live or b"") != recorded:
                yield VariantDifference(name, recorded or None, live, "named by the recorded Vary")
        if variant.media_type:
            accept = self.value("accept") or b""
            if accept != variant.accept and not _admits(accept, variant.media_type):
                rule = f"does not admit the recorded {variant.media_type.decode('latin-1')}"
                yield VariantDifference("accept", variant.accept, accept, rule)

    def accepts_like(self, variant: Variant | None) -> bool:
        """Whether the recorded ``Accept`` is this one, where it is known."""
        return variant is None or variant.accept in (b"", self.value("accept"))

    def variant(self, answer: Headers) -> Variant:
        """The variant under which this request's recording is filed, given the answer's fields."""
        vary = names_in_vary(answer)
        negotiated = "accept" in vary
        return Variant(
            self._fixed,
            tuple([(name, self.value(name) or b"") for name in vary]),
            b"" if negotiated else self.value("accept") or b"",
            b"" if negotiated else _media_type(answer),
        )


def variant_of(fields: Iterable[tuple[bytes, bytes]], answer: Headers) -> Variant:
    """The variant of a recorded request with these selecting fields."""
    return Selecting(tuple(fields)).variant(answer)


def names_in_vary(answer: Headers) -> tuple[str, ...]:
    """The request fields that an answer's ``Vary`` names and that may select, sorted.

    Fields that never select are left out, and so is ``*``, which names nothing
    to compare.
    """
    names: set[str] = set()
    for name, value in answer:
        if name.lower() == b"vary":
            names.update(item.strip().lower().decode("latin-1") for item in value.split(b","))
    names.discard("")
    names.discard("*")
    chosen = sorted(
        name for name in names if class_of(name.encode("latin-1")) is HeaderClass.NEGOTIATED
    )
    return tuple(chosen[:_MOST_VARY])


def _media_type(answer: Headers) -> bytes:
    for name, value in answer:
        if name.lower() == b"content-type":
            return value.partition(b";")[0].strip().lower()
    return b""


def _admits(accept: bytes, media_type: bytes) -> bool:
    """Whether an ``Accept`` in comparable form admits a media type (RFC 9110 12.5.1)."""
    kind = media_type.partition(b"/")[0]
    ranks = {media_type: 3, kind + b"/*": 2, b"*/*": 1, b"*": 1}
    best, admitted = 0, False
    for item in accept.split(b","):
        name, *parameters = item.strip().split(b";")
        rank = ranks.get(name, 0)
        if rank and rank >= best:
            quality = next((each[2:] for each in parameters if each.startswith(b"q=")), b"1")
            best, admitted = rank, quality.strip(b"0.") != b""
    return admitted


@frozen(eq=False)
class Identity:
    """Everything that a lookup needs to know about a live request.

    ``keys`` go from exact to lenient: lenient ones leave out parts of the
    origin, and treat possible data as credentials. ``headerless`` find
    recordings without request headers, if the request has some that are part
    of its key. ``loose`` are those of ``keys`` without the values that count
    by their pseudonyms; ``is_credential`` says that the request has no such
    value: its credentials are certain. ``salted``: the keys depend on the
    store's salt.
    """

    keys: tuple[MatchKey, ...]
    selecting: Selecting
    headerless: tuple[MatchKey, ...] = ()
    loose: tuple[MatchKey, ...] = ()
    is_credential: bool = False
    salted: bool = False

    def of(self, selecting: Selecting) -> Identity:
        """The identity of a request with the same keys and other fields that select."""
        if selecting is self.selecting:
            return self
        same = self.headerless, self.loose, self.is_credential, self.salted
        return Identity(self.keys, selecting, *same)


def identity_of(
    keys: tuple[MatchKey, ...],
    others: tuple[MatchKey, ...],
    selecting: Selecting,
    headerless: tuple[MatchKey, ...],
    redaction: KeyRedaction,
) -> Identity:
    """The identity from the ``keys`` of the exact reading and those of the ``others``."""
    exact = keys[0].parts
    if not others and STAND_IN not in b"\n".join([value for _, value in exact]):
        return Identity(keys, selecting, headerless)
    salted = any(MARK in value or COUNTED_MARK in value for _, value in exact)
    loosely = [loosened(key, redaction) for key in keys]
    loose = tuple([key for key in loosely if key is not None])
    for other in others:
        loose += (loosened(other, redaction) or other,)
    if not loose:
        return Identity(keys, selecting, headerless, keys, is_credential=True, salted=salted)
    return Identity((*keys, *loose), selecting, headerless, loose, salted=salted)


def loosened(key: MatchKey, redaction: KeyRedaction) -> MatchKey | None:
    """The key without values that may be data; ``None`` if it has none."""
    parts = tuple([(name, redaction.loosened(value)) for name, value in key.parts])
    return None if parts == key.parts else MatchKey(parts)

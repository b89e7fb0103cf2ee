"""Equal documents have one spelling, different ones two, and both readers agree."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buffr.matching.canonical_json import DEEPEST, canonical, slow_canonical

WHITE = st.text(" \t\r\n", max_size=2)
NUMBERS = st.one_of(
    st.sampled_from(["0", "-0", "1", "1.0", "1e5", "1E5", "-0.0", "10", "-1", "1e400", "9" * 400]),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)
# Marks that the fast way counts, quotes, and text beyond ASCII and the basic plane.
TEXT = st.text(
    st.one_of(
        st.sampled_from(':-"\\{}[]a/\x7f\x00\né\uffff\U0001f98a'), st.characters(codec="utf-8")
    ),
    max_size=6,
)

Document = object
"""A tree: str is text, bytes a number's digits, a tuple an object's members, a list an array."""


def documents() -> st.SearchStrategy[Document]:
    leaves = st.one_of(TEXT, NUMBERS.map(str.encode), st.sampled_from([None, True, False]))
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.lists(st.tuples(TEXT, inner), max_size=4).map(tuple),
        ),
        max_leaves=12,
    )


def escaped(text: str, draw: Callable[[st.SearchStrategy[int]], int]) -> str:
    out = []
    for char in text:
        plain = json.dumps(char, ensure_ascii=False)[1:-1]
        units = char.encode("utf-16-be")
        pairs = [units[at : at + 2].hex() for at in range(0, len(units), 2)]
        lower = "".join(f"\\u{unit}" for unit in pairs)
        upper = "".join(f"\\u{unit.upper()}" for unit in pairs)
        slash = "\\/" if char == "/" else plain
        out.append((plain, lower, upper, slash)[draw(st.integers(0, 3))])
    return '"' + "".join(out) + '"'


@st.composite
def spelled(draw: Callable[..., object], document: Document, *, shuffle: bool = False) -> bytes:
    """One of the many spellings of a document; with ``shuffle`` in any order of its members."""

    def pick(strategy: st.SearchStrategy[int]) -> int:
        return draw(strategy)  # type: ignore[return-value]

    def write(node: Document) -> str:
        before, after = draw(WHITE), draw(WHITE)
        return f"{before}{value(node)}{after}"

    def value(node: Document) -> str:
        if isinstance(node, bytes):
            return node.decode()
        if isinstance(node, str):
            return escaped(node, pick)
        if isinstance(node, list):
            return "[" + (",".join(map(write, node)) or str(draw(WHITE))) + "]"
        if isinstance(node, tuple):
            members = list(node)
            if shuffle and len({name for name, _ in members}) == len(members):
                members = draw(st.permutations(members))  # type: ignore[assignment]
            return "{" + ",".join(f"{write(name)}:{write(inner)}" for name, inner in members) + "}"
        return json.dumps(node)

    return write(document).encode()


DOCUMENTS = documents()


def meaning(document: Document) -> Document:
    """A document as it is compared: members sorted by name, those with the same name in order."""
    if isinstance(document, list):
        return ["array", *map(meaning, document)]
    if isinstance(document, tuple):
        members = sorted(document, key=lambda member: member[0])
        return ["object", *[(name, meaning(inner)) for name, inner in members]]
    return [type(document).__name__, document]


class TestCanonical:
    @pytest.mark.parametrize(
        ("body", "result"),
        [
            (b' { "b" : [ 1 , 2 ] , "a" : null } ', b'{"a":null,"b":[1,2]}'),
            (b'{"e":"\\u00e9\\/\\ud83e\\udd8a"}', '{"e":"é/🦊"}'.encode()),
            (b"[1.0,1,1e5,1E5,-0,-0.0,0.10]", b"[1.0,1,1e5,1E5,-0,-0.0,0.10]"),
            (b"[9007199254740993,123456789012345678901234567890]",) * 2,
            (b'{"b":0,"a":2,"a":1}', b'{"a":2,"a":1,"b":0}'),
            (b'{"a":2,"\\u0061":1}', b'{"a":2,"a":1}'),
            (b'{"a":1,"a":2,"b":"\\u003a"}', b'{"a":1,"a":2,"b":":"}'),
            (b'["\\u002d",-0]', b'["-",-0]'),
            (b'"text"', b'"text"'),
        ],
    )
    def test_spelling(self, body: bytes, result: bytes) -> None:
        """Order, white space and escapes go; digits and duplicates stay."""
        assert canonical(body) == result

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[1,]",
            b"{} {}",
            b"NaN",
            b"[Infinity]",
            b'"\\ud800"',
            b'"\xff"',
            b"'a'",
            b"01",
            b"\xef\xbb\xbf{}",
            b'"\n"',
            b'{"a":1,"a":NaN}',
            b'{"\\ud800":1,"\\ud800":2}',
            b"\xa01",
        ],
    )
    def test_not_json(self, body: bytes) -> None:
        """What is not JSON, or has no UTF-8 spelling, has no canonical form."""
        assert canonical(body) is None

    def test_depth(self) -> None:
        """Nesting is read up to a limit, in any spelling; hostile depth is not an error."""
        for begin, end in ((b"[", b"]"), (b'{"a":', b"}")):
            for fits, depth in ((True, DEEPEST), (False, DEEPEST + 1), (False, 100_000)):
                body = begin * depth + b'"[[{"' + end * depth
                assert (canonical(body) is not None) is fits
        assert canonical(b'["' + b"[" * 1000 + b'"]') is not None

    @pytest.mark.parametrize(
        "body",
        [
            b"[" * 300000,
            b'["' + b'\\"[' * 100000,
            b"9" * 300000,
            b'{"a":1,"a":' * 30000,
            b'{"a":1,"a":' * 100 + b'"' + b"x" * 200000 + b'"' + b"}" * 100,
            b'{"a":1,' * 40000,
        ],
    )
    def test_hostile(self, body: bytes) -> None:
        """Hostile bytes are a value or none, in time that grows with their length only."""
        canonical(body)


class TestReadersAgree:
    @settings(max_examples=settings().max_examples * 3)
    @given(DOCUMENTS.flatmap(spelled))
    def test_on_documents(self, body: bytes) -> None:
        """The fast way gives the same result as the slow way."""
        assert canonical(body) == slow_canonical(body) is not None

    @given(st.text('{}[]":,-0e1.\\u003ad \n', max_size=30))
    def test_on_anything(self, text: str) -> None:
        """Also for what is not JSON."""
        assert canonical(text.encode()) == slow_canonical(text.encode())


class TestEquality:
    @settings(max_examples=settings().max_examples * 3)
    @given(DOCUMENTS, st.data())
    def test_one_spelling(self, document: Document, data: st.DataObject) -> None:
        """White space, escapes and the order of members make no difference."""
        one = data.draw(spelled(document))
        two = data.draw(spelled(document, shuffle=True))
        assert canonical(one) == canonical(two)

    @given(DOCUMENTS, DOCUMENTS, st.data())
    def test_different_documents(self, one: Document, two: Document, data: st.DataObject) -> None:
        """Documents that differ, even in a number's digits, stay different."""
        same = canonical(data.draw(spelled(one))) == canonical(data.draw(spelled(two)))
        assert same == (meaning(one) == meaning(two))

    @given(DOCUMENTS.flatmap(spelled))
    def test_idempotent(self, body: bytes) -> None:
        """The one spelling is its own canonical form."""
        result = canonical(body)
        assert result is not None
        assert canonical(result) == result

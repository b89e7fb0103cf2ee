from __future__ import annotations

import json

import pytest
from recordings import recording

from buffr.stores.cassette.format import encode
from buffr.stores.cassette.seals import is_edited, sealed


@pytest.fixture
def element() -> bytes:
    return sealed(encode(recording(body=b'{"name": "\xc3\xa9 /"}')))


class TestSeals:
    def test_what_buffr_wrote_is_not_edited(self, element: bytes) -> None:
        assert not is_edited(element)
        assert json.loads(element)["seal"]

    @pytest.mark.parametrize("change", ["layout", "order", "escapes", "slashes"])
    def test_another_spelling_is_no_edit(self, element: bytes, change: str) -> None:
        said = json.loads(element)
        spelled = {
            "layout": json.dumps(said, indent=7, ensure_ascii=False),
            "order": json.dumps(dict(reversed(said.items()))),
            "escapes": json.dumps(said, ensure_ascii=True),
            "slashes": json.dumps(said).replace("/", "\\/"),
        }[change]
        assert not is_edited(spelled.encode())

    def test_any_other_value_is_one(self, element: bytes) -> None:
        assert is_edited(element.replace(b": 200", b": 201"))
        assert is_edited(element.replace(b"application/json", b"text/html"))
        said = json.loads(element)
        assert is_edited(json.dumps({**said, "note": "mine"}).encode())
        assert is_edited(json.dumps({**said, "seal": "keep"}).encode())

    def test_without_a_seal_nothing_is_known(self) -> None:
        assert not is_edited(encode(recording()))

    def test_an_edit_stays_one_when_buffr_writes_it_again(self) -> None:
        assert is_edited(sealed(encode(recording()), edited=True))

"""Messages of JSON-RPC: what they are, and how the ids in them are replaced."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.formats.jsonrpc import Message, messages, with_ids

ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("id", "progressToken", "result", "a")), inner)
    ),
    max_leaves=8,
)
IDS = st.integers(-9, 9) | st.text(max_size=3)


def spelled(value: Any) -> bytes:
    return json.dumps(value).encode()


class TestReading:
    def test_a_request(self) -> None:
        body = b' {"id": 7, "method": "m", "params": {"_meta": {"progressToken": "t"}}}'
        assert messages(body) == (Message("m", b"7", b'"t"'),)

    def test_a_batch(self) -> None:
        """Of a notification and an answer."""
        body = b'[{"method": "n", "params": {"progressToken": 1}}, {"id": "7", "result": {}}]'
        one, other = messages(body)
        assert (one, one.is_answer) == (Message("n", b"", b"1"), False)
        assert (other, other.is_answer) == (Message("", b'"7"', b""), True)

    @pytest.mark.parametrize("body", [b"", b"x", b"[1]", b'"text"', b"[" * 10**5, b"\xff"])
    def test_something_else(self, body: bytes) -> None:
        assert messages(body) == ()
        assert with_ids(body, {b"1": b"2"}, {b"1": b"2"}) == body

    def test_parameters_by_position(self) -> None:
        assert messages(b'{"method": "m", "params": [1]}') == (Message("m", b"", b""),)


class TestReplacing:
    @given(result=ANY, old=IDS, new=IDS, order=st.permutations(("id", "jsonrpc", "result")))
    def test_the_id_of_an_answer_alone(
        self, result: Any, old: Any, new: Any, order: list[str]
    ) -> None:
        """Wherever it stands, and whatever else looks the same."""
        answer = {"id": old, "jsonrpc": "2.0", "result": result}
        text = spelled({name: answer[name] for name in order})
        replaced = with_ids(text, {spelled(old): spelled(new)}, {})
        assert json.loads(replaced) == {**answer, "id": new}
        back = with_ids(replaced, {spelled(new): spelled(old)}, {})
        assert back == text

    @given(token=IDS, new=IDS, more=ANY)
    def test_the_token_of_progress(self, token: Any, new: Any, more: Any) -> None:
        told = {"method": "p", "params": {"a": more, "progressToken": token}, "id": token}
        pairs = {spelled(token): spelled(new)}
        replaced = json.loads(with_ids(spelled(told), pairs, pairs))
        assert replaced == {**told, "params": {"a": more, "progressToken": new}}

    def test_each_message_of_a_batch(self) -> None:
        text = b'[ {"id":1,"result":{}} ,\n{"result":{},"id":1}, {"id":1,"method":"m"}]'
        assert with_ids(text, {b"1": b"22"}, {}) == (
            b'[ {"id":22,"result":{}} ,\n{"result":{},"id":22}, {"id":1,"method":"m"}]'
        )

    def test_other_ids_stay(self) -> None:
        text = b'{"id": 1, "result": {}}'
        assert with_ids(text, {b'"1"': b"2", b"2": b"3"}, {b"1": b"2"}) == text

"""Ids of exchanges: each is another one, and leads back to its exchange."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from buffr.admin.numbering import Numbering

STEPS = st.lists(st.sampled_from(("ends", "is shown", "shown one ends")), max_size=200)


@given(steps=STEPS)
def test_ids_are_unique_and_lead_back(steps: list[str]) -> None:
    numbering = Numbering()
    open_ids: list[int] = []
    by_id: dict[int, int] = {}
    end = 0
    for step in steps:
        if step == "is shown":
            number = numbering.early(end)
            assert number not in by_id
            assert number not in open_ids
            open_ids.append(number)
            continue
        if step == "shown one ends" and open_ids:
            number = open_ids.pop(0)
            numbering.took(number, end)
        else:
            number = numbering.of(end)
        assert number not in by_id
        by_id[number] = end
        end += 1
    for number, position in by_id.items():
        assert numbering.position(number) == position
    for number in open_ids:
        assert numbering.position(number) is None


@given(steps=STEPS)
def test_those_that_end_in_order_have_ids_in_order(steps: list[str]) -> None:
    numbering, ids, end = Numbering(), [], 0
    for step in steps:
        if step == "ends":
            ids.append(numbering.of(end))
            end += 1
        elif step == "is shown":
            numbering.early(end)
    assert ids == sorted(ids)

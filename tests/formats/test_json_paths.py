"""JSONPaths followed step by step select what the library selects."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonpath_rfc9535
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buffr.formats.json_paths import NOWHERE, BadPath, JSONPath, both, take_out, walk_along, walk_to
from buffr.formats.json_text import Place
from buffr.matching.canonical_json import DEEPEST

NAMES = st.sampled_from(["a", "b", "c", "0", "a b"])
DOCUMENTS = st.recursive(
    st.none() | st.integers(0, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)
SELECTORS = st.one_of(
    NAMES.map(lambda name: f"'{name}'"),
    st.integers(0, 4).map(str),
    st.just("*"),
    st.tuples(st.integers(0, 3), st.integers(0, 4) | st.just(""), st.integers(1, 3)).map(
        lambda each: ":".join(map(str, each))
    ),
)
SEGMENTS = st.tuples(st.sampled_from(["", ".."]), st.lists(SELECTORS, min_size=1, max_size=2)).map(
    lambda each: f"{each[0]}[{','.join(each[1])}]"
)
PATHS = st.lists(SEGMENTS, max_size=3).map(lambda segments: "$" + "".join(segments))


def without(document: Any, places: set[Place]) -> Any:
    """The document without some places: one by one, and so without any cleverness."""
    document = copy.deepcopy(document)
    for place in places:
        if not place:
            return None if isinstance(document, dict | list) else document
        holder = document
        try:
            for part in place[:-1]:
                holder = holder[part]
        except (KeyError, TypeError):
            continue
        if isinstance(holder, dict):
            holder.pop(place[-1], None)
        elif isinstance(holder, list):
            holder[int(place[-1])] = None
    return document


class TestSteps:
    @settings(max_examples=settings().max_examples * 4)
    @given(DOCUMENTS, st.lists(PATHS, min_size=1, max_size=3))
    def test_they_select_what_the_library_selects(self, document: Any, texts: list[str]) -> None:
        paths = [JSONPath.of(text) for text in texts]
        assert all(path.steps is not None for path in paths)
        places = {node.location for text in texts for node in jsonpath_rfc9535.find(text, document)}
        assert set().union(*[path.places(document) for path in paths]) == places
        expected = without(document, places)
        assert take_out(copy.deepcopy(document), walk_along(paths)) == expected
        assert take_out(copy.deepcopy(document), walk_to(places)) == expected

    @pytest.mark.parametrize("text", ["$[?@.a == 1]", "$.a[-1]", "$[-2:]", "$[::-1]", "$..[?@.x]"])
    def test_some_paths_need_the_whole_document(self, text: str) -> None:
        assert JSONPath.of(text).steps is None

    def test_any_depth(self) -> None:
        document: Any = {"x": 1, "y": 2}
        for _ in range(120):
            document = {"a": document}
        left = take_out(document, walk_along([JSONPath.of("$..x")]))
        assert json.dumps(left).count("x") == 0

    @pytest.mark.parametrize(
        "name",
        ["it's", 'say "x"', "back\\slash", "a\nb", "\x07", "é", "]['b", "*", "", "0:1:1", "\\'"],
    )
    def test_any_name(self, name: str) -> None:
        path = JSONPath.of(f"$[{json.dumps(name)}, 'b']")
        assert path.places({name: 1, "b": 2, "c": 3}) == {(name,), ("b",)}
        assert path.steps is not None

    @pytest.mark.parametrize("text", ["$..x", "$..[?@ == 1]"])
    def test_places_at_any_depth_that_is_compared(self, text: str) -> None:
        document: Any = {"x": 1}
        for _ in range(DEEPEST):
            document = [document]
        assert JSONPath.of(text).places(document) == {((0,) * DEEPEST) + ("x",)}

    def test_another_package_named_jsonpath(self, tmp_path: Path) -> None:
        """Several packages install a module of this name over each other's."""
        (tmp_path / "jsonpath.py").write_text("raise ImportError('another package')")
        program = (
            "from buffr.formats.json_paths import JSONPath\n"
            "print(JSONPath.of('$.a').places({'a': 1}))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], check=False, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )  # fmt: skip
        assert done.stdout == "{('a',)}\n", done.stderr

    @pytest.mark.parametrize("text", ["a", "$.", "$[", "$.a[?", "$[01]", "$['a", "$[?@.a==1e999]"])
    def test_a_path_that_is_not_valid(self, text: str) -> None:
        with pytest.raises(BadPath):
            JSONPath.of(text)


class TestBoth:
    @given(DOCUMENTS, PATHS, PATHS)
    def test_either_way_leads_there(self, document: Any, one: str, other: str) -> None:
        walks = [walk_along([JSONPath.of(text)]) for text in (one, other)]
        together = walk_along([JSONPath.of(one), JSONPath.of(other)])
        expected = take_out(copy.deepcopy(document), together)
        assert take_out(copy.deepcopy(document), both(*walks)) == expected
        assert both(walks[0], NOWHERE) is walks[0]

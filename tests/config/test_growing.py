"""Rules that are added to a settings file: it says more, and nothing that it said is lost."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from config_sources import loaded
from hypothesis import given
from hypothesis import strategies as st

from buffr.config.forward import ForwardSettings
from buffr.config.growing import Rules, with_rules
from buffr.config.route import MatchSettings
from buffr.errors import ConfigError

HOST = "api.test"
RULE: Rules = {"json": ["$.id"], "query": ["ts"]}
IGNORE: Rules = {"ignore": [{"in": "request.body", "pattern": "it's [0-9]", "replace_with": "N"}]}


def proxy(text: str) -> ForwardSettings:
    forward = loaded(text, flags={"proxy": "true"}).forward
    assert forward is not None
    return forward


def rules_of(text: str, host: str = HOST) -> MatchSettings:
    return proxy(text).of(host).match


LAYOUTS = {
    "nothing": "",
    "comments alone": "# ours\n",
    "other sections": "reverse:\n  - target: http://a.test # the first\n\n# the end\n",
    "no newline at the end": "forward:\n  mode: auto",
    "an empty section": "forward: {}\n# below\n",
    "a null": "forward: # soon\n",
    "a written null": "forward: ~ # soon\ndata_dir: d\n",
    "another host": "forward:\n  hosts:\n    # one\n    - host: b.test\n      mode: auto\n",
    "dashes at the key": "forward:\n  hosts:\n  - host: b.test # b\n\n  # the end\ndata_dir: d\n",
    "its own row": (
        "forward:\n  hosts:\n    - host: api.test\n      mode: replay # always\n"
        "# of all\ndata_dir: d # here\n"
    ),
    "a pattern": 'forward:\n  hosts:\n    - host: "*.test"\n      mode: replay\n',
    "rules of its own": (
        "forward:\n  hosts:\n    - host: API.test\n      match:\n        # noise\n        json:\n"
        "          - '$.old' # old\n\n        # of forms\n        form: [f]\n      mode: auto\n"
    ),
    "rules in brackets": (
        "forward: {hosts: [{host: api.test, match: {json: ['$.old'], form: [f]}}]} # all\n"
    ),
    "brackets over lines": (
        "forward:\n  match: {\n    json: [\n      '$.old', # old\n      ], # both\n"
        "    form: [f] #f\n    }\n  hosts:\n    - {host: b.test}\n"
    ),
    "rules of all": "forward:\n  match:\n    json: $.old\n    form: f\n  mode: replay\n",
    "a preset": "forward:\n  hosts: [{host: api.test, match: har}]\n",
    "a preset of all": "forward:\n  match: har # as Playwright\n",
    "an empty list": "forward:\n  match:\n    json: []\n    query: # none\n    form: f\n",
    "folded text": "forward:\n  match:\n    form:\n      - >-\n        f\n\n# the end\n",
    "in DOS": "forward:\r\n  mode: replay # it\r\n# end\r\ndata_dir: d\r\n",
}


class TestLayouts:
    @pytest.mark.parametrize("name", LAYOUTS)
    def test_the_rule_applies_and_the_rest_stays(self, name: str) -> None:
        text = LAYOUTS[name]
        grown = with_rules(with_rules(text, HOST, RULE), HOST, IGNORE)
        found = rules_of(grown)
        assert found.json[-1] == "$.id"
        assert found.query == ("ts",)
        (ignored,) = found.ignore
        assert (ignored.part, ignored.pattern) == ("request.body", "it's [0-9]")
        for comment in [line.partition("#")[2] for line in text.splitlines() if "#" in line]:
            assert f"#{comment}" in grown
        old, new = proxy(text).of(HOST), proxy(grown).of(HOST)
        assert found.json == (*old.match.json, "$.id")
        assert (found.form, found.preset) == (old.match.form, old.match.preset)
        assert (new.mode, new.cassette) == (old.mode, old.cassette)

    @pytest.mark.parametrize(
        "name", [name for name in LAYOUTS if "bracket" not in name and name != "in DOS"]
    )
    def test_each_line_stays_where_nothing_was_replaced(self, name: str) -> None:
        """A difference of git's shows added lines, and at most a word that became a list."""
        text = LAYOUTS[name]
        grown = with_rules(text, HOST, RULE).splitlines()
        lost = [line for line in text.splitlines() if line not in grown]
        replaced = {
            "an empty section": 1,
            "a written null": 1,
            "rules of all": 1,
            "a preset": 1,
            "a preset of all": 1,
            "an empty list": 1,
        }
        assert len(lost) == replaced.get(name, 0)

    def test_a_rule_that_is_there_is_not_added_again(self) -> None:
        once = with_rules(with_rules("", HOST, RULE), HOST, IGNORE)
        assert with_rules(with_rules(once, HOST, RULE), HOST, IGNORE) == once

    def test_it_looks_like_the_rest_of_the_file(self) -> None:
        text = "forward:\n  hosts:\n    - host: b.test # b\n\n# the end\n"
        assert with_rules(text, HOST, RULE) == (
            "forward:\n  hosts:\n    - host: b.test # b\n"
            "    - host: api.test\n      match:\n        json:\n          - '$.id'\n"
            "        query:\n          - 'ts'\n\n# the end\n"
        )

    def test_newlines_of_dos_stay(self) -> None:
        grown = with_rules(LAYOUTS["in DOS"], HOST, RULE)
        assert grown.count("\r\n") == grown.count("\n") > LAYOUTS["in DOS"].count("\n")

    @pytest.mark.parametrize(
        "text",
        [
            "reverse: [{target: http://a.test, match: &m {json: [$.a]}}]\nforward:\n  match: *m\n",
            "forward:\n  hosts:\n  - host: api.test\n    match: {json: &j [x], query: *j}\n",
        ],
    )
    def test_an_alias_is_refused(self, text: str) -> None:
        """It stands for something that must not change."""
        with pytest.raises(ConfigError, match=r"line \d+ has an alias"):
            with_rules(text, HOST, RULE)


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.integers(), st.booleans(), TEXTS),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(TEXTS, inner)),
    max_leaves=8,
)


class TestAnything:
    @given(
        rules=st.dictionaries(
            st.sampled_from(("json", "query", "form")), st.lists(TEXTS, min_size=1), min_size=1
        ),
        others=st.dictionaries(st.sampled_from(("mode", "store", "x y", "z")), VALUES),
        flow=st.sampled_from((True, False, None)),
        indent=st.integers(2, 8),
    )
    def test_what_was_there_stays(
        self, rules: dict[str, list[str]], others: dict[str, Any], flow: bool | None, indent: int
    ) -> None:
        """However it is written: the same data, and the rules."""
        row = {"host": HOST, "match": {"json": ["old"]}, **others}
        before = {"others": others, "forward": {"hosts": [{"host": "b.test"}, row], **others}}
        text = yaml.safe_dump(before, default_flow_style=flow, indent=indent, allow_unicode=True)
        grown = yaml.safe_load(with_rules(text, HOST, rules))
        match = grown["forward"]["hosts"][1]["match"]
        assert match["json"][0] == "old"
        for name, values in rules.items():
            assert set(match[name]) == {*values, *(["old"] if name == "json" else [])}
        grown["forward"]["hosts"][1]["match"] = {"json": ["old"]}
        assert grown == before

"""The table of clients, in the documentation as in the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from buffr.commands.ca.hints import HINTS, table

ROOT = Path(__file__).parents[3]


class TestTheDocs:
    @pytest.mark.parametrize("name", ["ca/README.md", "docs/certificates.md"])
    def test_have_the_table(self, name: str) -> None:
        """As ``python -m buffr.commands.ca.hints`` writes it."""
        text = (ROOT / name).read_text(encoding="utf-8")
        assert table() in text
        assert text.count("| `--install-hint` |") == 1

    def test_can_be_a_table(self) -> None:
        """Four cells a row, and code in it that Markdown leaves alone."""
        rows = table().splitlines()
        assert len(rows) == 2 + len(HINTS)
        assert {row.count("|") for row in rows} == {5}
        assert all(row.count("`") % 2 == 0 for row in rows)

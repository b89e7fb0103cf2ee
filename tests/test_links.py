"""Links of the documentation: each leads to a file, and to a heading in it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", "ca/*.md", "changes/*.md")
    for path in ROOT.glob(pattern)
)

_FENCE = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+).+?\1")
_INDENTED = re.compile(r"(?<=\n\n)(?:(?: {4}|\t).*\n?)+")
_LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#* *$", re.MULTILINE)


def links(text: str) -> list[str]:
    """Targets of the links in a Markdown text that lead to files of the repository."""
    prose = _CODE.sub("", _INDENTED.sub("", _FENCE.sub("", text)))
    targets = (match[1] for match in _LINK.finditer(prose))
    return [target for target in targets if not re.match(r"[a-z][a-z0-9+.-]*:", target)]


def anchors(text: str) -> set[str]:
    """The anchors of the headings in a Markdown text, as GitHub makes them."""
    found: dict[str, int] = {}
    for match in _HEADING.finditer(_FENCE.sub("", text)):
        title = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", match[1]).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", title).replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        if count:
            found[f"{slug}-{count}"] = 1
    return set(found)


@cache
def anchors_of(path: Path) -> set[str]:
    return anchors(path.read_text("utf-8"))


def broken(page: Path, target: str) -> bool:
    # Fragments of the changelog are read at the root, where towncrier puts them.
    base = ROOT if page.parent.name == "changes" else (ROOT / page).parent
    name, _, fragment = unquote(target).partition("#")
    path = (base / name).resolve() if name else ROOT / page
    if not path.exists():
        return True
    return bool(fragment) and fragment not in anchors_of(path)


def test_links_lead_somewhere() -> None:
    nowhere = [
        f"{page}: {target}"
        for page in PAGES
        for target in links((ROOT / page).read_text("utf-8"))
        if broken(page, target)
    ]
    assert nowhere == []


def test_the_site_has_all_pages() -> None:
    """``make docs`` fails on a page that is not listed."""
    listed = (ROOT / "mkdocs.yml").read_text("utf-8")
    pages = [page.as_posix() for page in PAGES if page.parts[0] in ("docs", "ca")]
    assert [page for page in pages if f"{page}\n" not in listed] == []


class TestAnchors:
    def test_are_those_of_github(self) -> None:
        text = "# A `code`, a [link](x.md) & more\n## Two\n## Two\n```sh\n# no heading\n```\n"
        assert anchors(text) == {"a-code-a-link--more", "two", "two-1"}


class TestLinks:
    def test_in_code_are_none(self) -> None:
        text = "[a](b.md) `[c](d.md)`\n\n    [e](f.md)\n\n```\n[g](h.md)\n```\n[i](https://j)\n"
        assert links(text) == ["b.md"]

    def test_to_a_missing_file_or_heading_are_broken(self) -> None:
        page = Path("README.md")
        assert broken(page, "docs/nothing.md")
        assert broken(page, "docs/index.md#nothing")
        assert not broken(page, "docs/index.md#how-to")

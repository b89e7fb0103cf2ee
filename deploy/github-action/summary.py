"""``python summary.py REPORT.json``: the report of ``buffr run`` as Markdown, for a job's summary.

It needs nothing but Python. Without a report it says so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_MOST_ROWS = 50
_SHOWN = ("hits", "fetched", "recorded", "misses", "errors", "refused", "unused", "escapes")


def summary(report: Mapping[str, Any]) -> Iterator[str]:
    """The lines: the outcome, the counts, and what found no recording."""
    failures = report["failures"]
    passed = report["exit_code"] == 0
    took = report["duration_ms"] / 1000
    yield f"### buffr: {'passed' if passed else 'failed'} after {took:.1f} s"
    yield ""
    for one in failures:
        yield f"- **{_code(one['flag'])}**: {_text(one['why'])}"
    if failures:
        yield ""
    counts = {name: report["counts"].get(name, 0) for name in _SHOWN}
    yield "| " + " | ".join(counts) + " |"
    yield "|" + " ---: |" * len(counts)
    yield "| " + " | ".join(f"{count:,}" for count in counts.values()) + " |"
    misses = [one for one in report["requests"] if one["src"] == "miss"]
    if misses:
        yield from _table(misses)


def _table(misses: list[Mapping[str, Any]]) -> Iterator[str]:
    yield from ("", "| Not recorded | times | why |", "| --- | ---: | --- |")
    for one in misses[:_MOST_ROWS]:
        asked = _code(f"{one['method']} {one['url']}")
        yield f"| {asked} | {one['count']} | {_text(one.get('detail') or '')} |"
    if len(misses) > _MOST_ROWS:
        yield f"| and {len(misses) - _MOST_ROWS} more | | |"


def _code(text: str) -> str:
    """As it is: URLs come from requests, and are not to be read as Markdown or HTML."""
    return f"<code>{_text(text)}</code>"


def _text(text: str) -> str:
    escaped = (f"&#{ord(each)};" if each in "&<>|`*_[]\\#@\n\r" else each for each in text)
    return "".join(escaped)


def main() -> None:
    """Print the summary of the report that is named."""
    try:
        report = json.loads(Path(sys.argv[1]).read_bytes())
    except FileNotFoundError:
        sys.stdout.write("### buffr: the command did not run, so there is no report\n")
        return
    sys.stdout.write("".join(f"{line}\n" for line in summary(report)))


if __name__ == "__main__":
    main()

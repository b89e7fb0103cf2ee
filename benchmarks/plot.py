"""A run's figures as a plot (SVG), without a library: what each peer costs, buffr being 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from attrs import frozen

from benchmarks.table import Row

__all__ = ["plotted"]

_SHOWN = {
    ("hit-get", "us per answer"): "replayed GET",
    ("hit-post", "us per answer"): "replayed POST, 2 KB",
    ("http2", "us per answer"): "replayed GET, HTTP/2 over TLS",
    ("tunnel", "us per answer"): "GET in a kept tunnel",
    ("tunnel", "ms per new tunnel"): "new tunnel and GET",
    ("cache", "us per answer"): "cache hit, SQLite",
    ("relay", "us per answer"): "GET passed through",
    ("websocket", "us per round trip"): "WebSocket echo, recorded",
    ("record", "recordings/s into an empty cassette"): "POST recorded",
    ("sse", "answers/s"): "stream of 200 events",
}
_COLOURS = {
    "buffr": "#1668a8",
    "nginx": "#3b7d3b",
    "Go program": "#b8442c",
    "Go": "#b8442c",
    "mitmproxy": "#7a5195",
    "api-buddy": "#a0793d",
    "twisted.web": "#6b7280",
}
_LEFT, _WIDE, _BAR, _GAP, _TOP = 210, 700, 13, 12, 46
_LEAST, _MOST = 0.05, 300.0


@frozen
class _Bars:
    """What is compared, and each server's cost in units of buffr's."""

    title: str
    costs: tuple[tuple[str, float], ...]


def plotted(rows: Sequence[Row]) -> str:
    """The plot of those rows that it shows.

    Bars are processor time, or time where rates are compared.
    """
    groups = [group for group in map(_group, _SHOWN, [rows] * len(_SHOWN)) if group.costs]
    parts: list[str] = []
    top = _TOP
    for group in groups:
        middle = top + _BAR * len(group.costs) / 2 + 4
        parts.append(_text(_LEFT - 10, middle, group.title, "end"))
        for server, cost in group.costs:
            parts.append(_bar(top, server, cost))
            top += _BAR
        top += _GAP
    box = f'viewBox="0 0 {_WIDE} {top + 8}" font-family="sans-serif" font-size="11"'
    title = "Time by server, as a multiple of buffr's (logarithmic; shorter is better)"
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {box}>',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDE}" height="{top + 8}" fill="#fff"/>',
        _text(12, 20, title),
    ]
    for step in (0.1, 1, 10, 100):
        head.append(
            f'<path d="M{_at(step):.1f} {_TOP - 6}V{top - 4}" stroke="#ddd" stroke-width="1"/>'
        )
        head.append(_text(_at(step), _TOP - 10, f"{step:g}", "middle"))
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def _group(key: tuple[str, str], rows: Sequence[Row]) -> _Bars:
    figures = {
        row.server: row.value
        for row in rows
        if (row.benchmark, row.measure) == key and row.server in _COLOURS
    }
    own = figures.get("buffr")
    if not own or len(figures) < 2:
        return _Bars(_SHOWN[key], ())
    is_rate = key[1].partition(" ")[0].endswith("/s")
    costs = {name: own / value if is_rate else value / own for name, value in figures.items()}
    return _Bars(_SHOWN[key], tuple(sorted(costs.items(), key=lambda item: item[1])))


def _bar(top: float, server: str, cost: float) -> str:
    end = _at(cost)
    colour = _COLOURS[server]
    start, width = min(end, _at(_LEAST)), max(1.0, end - _at(_LEAST))
    rectangle = (
        f'<rect x="{start:.1f}" y="{top + 1:.1f}" width="{width:.1f}" height="{_BAR - 2}" '
        f'fill="{colour}"/>'
    )
    label = server if server == "buffr" else f"{server} {_times(cost)}"
    return rectangle + _text(end + 4, top + _BAR - 3, label)


def _times(cost: float) -> str:
    return f"{cost:.0f}" if cost >= 10 else f"{cost:.1f}" if cost >= 1 else f"{cost:.2f}"


def _at(cost: float) -> float:
    """Where a cost is on the logarithmic scale."""
    share = math.log(max(_LEAST, min(cost, _MOST)) / _LEAST) / math.log(_MOST / _LEAST)
    return _LEFT + share * (_WIDE - _LEFT - 110)


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}"{where} fill="#222">{escape(words)}</text>'

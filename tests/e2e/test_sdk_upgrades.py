"""What one release of an SDK recorded answers another: by the requests that both send.

`make sdk-upgrades` does the same with the SDKs themselves; they are installed
for that alone. `tests/upgrades/headers.py` writes the data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench import Place
from raw_http import request

from buffr.testing import answer

DATA = json.loads((Path(__file__).parents[1] / "data" / "sdk_headers.json").read_text("utf-8"))

FRAMING = frozenset(("host", "content-length", "transfer-encoding", "expect", "connection"))

NOISE = (
    (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    (b"tracestate", b"vendor=1"),
    (b"baggage", b"run=2"),
    (b"X-Request-Id", b"7"),
    (b"X-Retry-Count", b"2"),
    (b"Via", b"1.1 corporate"),
)


def pairs(fields: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in fields.items()]


def raw(place: Place, sent: dict[str, Any], *noise: tuple[bytes, bytes]) -> bytes:
    fields = [each for each in pairs(sent["headers"]) if each[0].decode().lower() not in FRAMING]
    body = sent["body"].encode()
    method, target = sent["method"].encode(), place.path + sent["target"].encode()
    return request(target, method=method, headers=[*fields, *noise], body=body or None)


@pytest.mark.parametrize(("first", "second"), [("old", "new"), ("new", "old")])
@pytest.mark.parametrize("sdk", DATA)
def test_another_release_replays(place: Place, sdk: str, first: str, second: str) -> None:
    for number, pair in enumerate(DATA[sdk]["requests"]):
        body = b'{"number": %d}' % number
        place.answers(answer(body, headers=pairs(pair["answer"])))
        recorded = place.ask("auto", raw(place, pair[first]))
        assert recorded.status == 200
        got = place.ask("replay", raw(place, pair[second], *NOISE))
        assert (got.status, got.body) == (200, recorded.body), got.body.decode()


def test_releases_differ() -> None:
    """At least ten SDKs, and the data is that of two releases each."""
    differing = [
        name for name, of in DATA.items()
        if any(pair["old"]["headers"] != pair["new"]["headers"] for pair in of["requests"])
    ]  # fmt: skip
    assert len(differing) >= 10

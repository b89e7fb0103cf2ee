"""Writes `tests/data/sdk_headers.json` from the cassettes that `KEEP` kept.

    KEEP=build/kept make sdk-upgrades
    .venv/bin/python tests/upgrades/headers.py build/kept tests/data/sdk_headers.json

The file has the same requests as an older and a newer release of each SDK send
them; `tests/e2e/test_sdk_upgrades.py` replays them without any SDK.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from pathlib import Path
from typing import Any

from releases import SDKS, Sdk

_ANSWERS = ("Content-Type", "Vary")
_MOST = 4
_PLATFORM = re.compile(rf"Linux-\S+glibc[\d.]+|{re.escape(platform.release())}\S*|#\d+ SMP[^\"\\]*")
"""This machine's kernel is nobody's business."""


def request(interaction: Any) -> dict[str, Any]:
    sent = interaction["http"]["request"]
    fields = {
        name: _PLATFORM.sub("Linux", ", ".join(values)) for name, values in sent["headers"].items()
    }
    query = f"?{sent['query']}" if sent.get("query") else ""
    found = {"method": sent["method"], "target": sent["path"] + query, "headers": fields}
    return {**found, "body": sent.get("body") or ""}


def pair(old: Any, new: Any) -> dict[str, Any]:
    told = old["http"]["response"]["headers"]
    answer = {name: ", ".join(told[name]) for name in _ANSWERS if name in told}
    return {"old": request(old), "new": request(new), "answer": answer}


def of(sdk: Sdk, kept: Path) -> dict[str, Any] | None:
    """The pairs of an SDK whose releases send the same requests."""
    cassettes = [kept / f"{sdk.name}-{each.version}.json" for each in (sdk.old, sdk.new)]
    old, new = (json.loads(each.read_text("utf-8"))["interactions"] for each in cassettes)
    if sdk.others or len(old) != len(new):
        return None
    pairs = [pair(*both) for both in zip(old, new, strict=True)]
    plain = [each for each in pairs if isinstance(each["old"]["body"], str)]
    return {"old": sdk.old.version, "new": sdk.new.version, "requests": plain[:_MOST]}


def main(kept: str, file: str) -> None:
    found = {sdk.name: of(sdk, Path(kept)) for sdk in SDKS}
    told = {name: pairs for name, pairs in found.items() if pairs}
    text = json.dumps(told, indent=1, ensure_ascii=False)
    Path(file).write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

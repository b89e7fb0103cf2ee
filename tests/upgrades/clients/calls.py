"""Makes the calls of one client, and prints what came of each as a line of JSON."""

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

__all__ = ["KEY", "run"]

KEY = "sk-upgrades-1a2B3c4D5e6F7g8H9i0J1k2L"


def run(make: Callable[[str], dict[str, Callable[[], Any]]]) -> None:
    """``make`` takes the base URL and gives the calls by name."""
    for name, call in make(sys.argv[1]).items():
        try:
            result, failed = call(), False
        except Exception:  # noqa: BLE001  # whatever a client raises is what came of it
            result, failed = traceback.format_exc(limit=-3), True
        sys.stdout.write(json.dumps({"call": name, "failed": failed, "result": str(result)}) + "\n")

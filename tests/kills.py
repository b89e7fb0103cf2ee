"""How often the slow tests kill a process."""

from __future__ import annotations

import os

__all__ = ["MANY_KILLS"]

MANY_KILLS = int(os.environ.get("KILLS", "100"))
"""``make kills`` wants more."""

"""What a process holds in memory."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import define

__all__ = ["Memory"]


@define
class Memory:
    """How much more memory a process came to hold than when this was made."""

    pid: int
    before_kb: int = 0

    def __attrs_post_init__(self) -> None:
        # Linux: forget the peak.
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        self.before_kb = self._kb("VmRSS")

    def _kb(self, name: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
        assert found is not None
        return int(found[1])

    @property
    def more_mb(self) -> float:
        return (self._kb("VmHWM") - self.before_kb) / 1000

"""``python fault_point.py CALL before|after …`` is ``buffr …``, killed at a CALL of the disk.

It is the first one once a file ``armed`` is there. ``name`` is how a spooled body
gets its name among the body files, ``write`` how a recording gets into its file.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from typing import Any

from buffr.stores.disk import Disk


def main() -> None:
    call, when = sys.argv[1:3]
    del sys.argv[1:3]
    whole = getattr(Disk, call)

    def until_killed(*arguments: Any) -> None:
        if when == "after":
            whole(*arguments)
        if os.path.exists("armed"):  # noqa: PTH110  # short
            os.kill(os.getpid(), signal.SIGKILL)
        if when == "before":
            whole(*arguments)

    setattr(Disk, call, until_killed)
    runpy.run_module("buffr", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

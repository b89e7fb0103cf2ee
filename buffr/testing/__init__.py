"""Helpers for tests, ours and those of users: a scripted upstream, and buffr in a process.

``buffr.testing.wire`` has a transport in memory, for tests without sockets.
"""

from buffr.testing.process import BuffrProcess
from buffr.testing.upstream import (
    FakeUpstream,
    Received,
    Script,
    Step,
    answer,
    chunked,
    steps,
)

__all__ = [
    "BuffrProcess",
    "FakeUpstream",
    "Received",
    "Script",
    "Step",
    "answer",
    "chunked",
    "steps",
]

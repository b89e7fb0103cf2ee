"""What all kinds of routes can say of recording and replaying."""

from __future__ import annotations

from typing import Literal, get_args

from buffr.config import kinds
from buffr.config.shapes import ListOf
from buffr.config.statuses import StatusSet

__all__ = ["REPEAT", "STATUS_SET", "Repeat"]

Repeat = Literal["cycle", "last", "once"]

REPEAT = kinds.one_of(get_args(Repeat))
STATUS_SET = ListOf(kinds.STATUSES, StatusSet.union, least=1)

"""The agent on which treq asks an admin listener: buffr's own pool."""

from __future__ import annotations

from typing import Any

from buffr.commands.demo import upstream_of
from buffr.upstream.agent import UpstreamAgent

__all__ = ["agent_of"]


def agent_of(reactor: Any) -> UpstreamAgent:
    """An agent for plain HTTP."""
    return UpstreamAgent(lambda origin: upstream_of(reactor, origin))

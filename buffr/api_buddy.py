"""The names of reference-api-buddy: a program changes its import, and nothing else.

from buffr.api_buddy import CachingProxy
"""

from __future__ import annotations

from buffr import __version__
from buffr.embedded import CachingProxy, SecurityError
from buffr.embedding.cache_engine import CacheEngine
from buffr.embedding.monitoring import MonitoringManager
from buffr.embedding.security import SecurityManager
from buffr.embedding.throttling import ThrottleManager

__all__ = [
    "CacheEngine",
    "CachingProxy",
    "MonitoringManager",
    "SecurityError",
    "SecurityManager",
    "ThrottleManager",
    "__version__",
]

"""The names of reference-api-buddy: a program changes its import, and nothing else.

from buffr.api_buddy import CachingProxy
"""

from __future__ import annotations

from buffr import __version__
from buffr.embedded.cache_engine import CacheEngine
from buffr.embedded.monitoring import MonitoringManager
from buffr.embedded.proxy import CachingProxy, SecurityError
from buffr.embedded.security import SecurityManager
from buffr.embedded.throttling import ThrottleManager

__all__ = [
    "CacheEngine",
    "CachingProxy",
    "MonitoringManager",
    "SecurityError",
    "SecurityManager",
    "ThrottleManager",
    "__version__",
]

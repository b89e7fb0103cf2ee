"""buffr: a proxy that remembers.

It records what an HTTP API answers, and replays it byte for byte.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"

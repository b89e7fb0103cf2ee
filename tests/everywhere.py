"""What tests share on any system: names of parameters, and how many examples."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

__all__ = ["pytest_make_parametrize_id"]

# No time limit on an example, as a busy machine breaks it. The same examples in each run of
# "ci", so that a change fails by its own fault; "deep" looks for new ones.
_ANY_TIME = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", _ANY_TIME, max_examples=25, derandomize=True, print_blob=True)
settings.register_profile("deep", _ANY_TIME, max_examples=500, print_blob=True)
# "fuzz" is for `make fuzz`, which says how many.
_MANY = int(os.environ.get("FUZZ_EXAMPLES", "100000"))
settings.register_profile("fuzz", _ANY_TIME, max_examples=_MANY, print_blob=True)
settings.load_profile("ci")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name binary values by their argument: workers must agree, and gzip holds the time."""
    binary = isinstance(val, bytes) and not (val.isascii() and val.decode().isprintable())
    return argname if binary else None

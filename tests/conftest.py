"""What all tests share: how many workers, how many examples, and a running buffr."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from bench import Bench, Place, running_bench
from forked import start
from hypothesis import HealthCheck, settings
from redis_servers import RedisServer

from buffr.testing import BuffrProcess

# No time limit on an example, as a busy machine breaks it. The same examples in each run of
# "ci", so that a change fails by its own fault; "deep" looks for new ones.
_ANY_TIME = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", _ANY_TIME, max_examples=25, derandomize=True, print_blob=True)
settings.register_profile("deep", _ANY_TIME, max_examples=500, print_blob=True)
# "fuzz" is for `make fuzz`, which says how many.
_MANY = int(os.environ.get("FUZZ_EXAMPLES", "100000"))
settings.register_profile("fuzz", _ANY_TIME, max_examples=_MANY, print_blob=True)
settings.load_profile("ci")

# A process of buffr that may keep no bytecode compiles all of buffr at each start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

BuffrProcess.start = staticmethod(start)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What ``-n auto`` means: half of the time a test of a process waits for it."""
    return 2 * (os.cpu_count() or 1)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name binary values by their argument: workers must agree, and gzip holds the time."""
    binary = isinstance(val, bytes) and not (val.isascii() and val.decode().isprintable())
    return argname if binary else None


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A buffr with a route for each policy, and another that replays; none of them is stopped."""
    with running_bench(tmp_path_factory.mktemp("bench")) as running:
        yield running


@pytest.fixture
def place(bench: Bench) -> Place:
    """A path of the shared upstream that no other test uses."""
    return bench.new_place()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that all tests of a worker share, each with names of its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()

"""What all tests share: how many workers, and a running buffr."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from bench import Bench, Place, running_bench
from everywhere import pytest_make_parametrize_id
from forked import start
from redis_servers import RedisServer

from buffr.testing import BuffrProcess

__all__ = ["pytest_make_parametrize_id"]

# A process of buffr that may keep no bytecode compiles all of buffr at each start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

BuffrProcess.start = staticmethod(start)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What ``-n auto`` means: half of the time a test of a process waits for it."""
    return 2 * (os.cpu_count() or 1)


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

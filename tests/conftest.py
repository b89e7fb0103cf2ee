"""What all tests share: how many workers, and a running buffr."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import Bench, Place, running_bench
from everywhere import pytest_make_parametrize_id
from forked import start
from redis_servers import RedisServer

from buffr.testing import BuffrProcess

__all__ = ["pytest_make_parametrize_id"]

_DESCRIPTORS = 400
"""How many a worker may have at its end."""

# A process of buffr that may keep no bytecode compiles all of buffr at each start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

BuffrProcess.start = staticmethod(start)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What ``-n auto`` means: half of the time a test of a process waits for it."""
    return 2 * (os.cpu_count() or 1)


@pytest.fixture(scope="session", autouse=True)
def few_descriptors() -> Iterator[None]:
    """Tests give back what they open: from 1,024 on, those that ``select`` would wait for ever."""
    yield
    gc.collect()
    left = sum(1 for _ in Path("/dev/fd").iterdir())
    assert left < _DESCRIPTORS, f"{left} descriptors are open after the last test"


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

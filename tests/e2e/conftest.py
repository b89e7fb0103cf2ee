"""What the end-to-end tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bench import Bench, Place, running_bench


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A buffr with a route for each policy, and another that replays; none of them is stopped."""
    with running_bench(tmp_path_factory.mktemp("bench")) as running:
        yield running


@pytest.fixture
def place(bench: Bench) -> Place:
    """A path of the shared upstream that no other test uses."""
    return bench.new_place()

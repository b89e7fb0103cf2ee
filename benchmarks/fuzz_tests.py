"""A plugin of pytest for ``benchmarks.fuzz``: hypothesis tests with very many examples.

The engine of hypothesis keeps what it has tried, so as to try nothing twice and
to shrink what fails. For 100,000 examples that is three times the work of making
them. Here each example is made of random bytes, by the entrance that hypothesis
has for fuzzers; what fails is named by its number, and comes again with the same
``FUZZ_SEED``.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from inspect import signature
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

_BUFFER_BYTES = 4096
"""What an example may be made of; few need a tenth of it."""
_TRIES = 20
"""How many examples are made at most for one that the test's own assumptions admit."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz", type=int, required=True, help="valid examples for each test")


def pytest_report_header() -> str:
    return f"FUZZ_SEED={_seed()}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only tests of hypothesis stay."""
    kept = [each for each in items if hasattr(getattr(each, "obj", None), "hypothesis")]
    config.hook.pytest_deselected(items=[each for each in items if each not in kept])
    items[:] = kept


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """Run the test with as many examples as asked for, and say how many it took."""
    wanted: int = pyfuncitem.config.getoption("fuzz")
    gc.collect()
    gc.freeze()  # or each collection looks at all the tests that were collected
    began = time.process_time()
    valid = sum(_examples(pyfuncitem, wanted))
    used_s = time.process_time() - began
    line = f"{valid:,} examples in {used_s:.1f} s of processor time: {pyfuncitem.nodeid}"
    capture: Any = pyfuncitem.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{line}", flush=True)
    assert valid >= wanted, line
    return True


def _seed() -> str:
    return os.environ.setdefault("FUZZ_SEED", str(Random().getrandbits(32)))


def _examples(item: pytest.Function, wanted: int) -> Iterator[int]:
    """One for each example that was valid, until there were enough."""
    test: Any = item.obj
    inner = test.hypothesis.inner_test
    strategies = test.hypothesis._given_kwargs  # noqa: SLF001  # there is no other way to them
    names = signature(inner).parameters
    fixtures = {name: item.funcargs[name] for name in names if name in item.funcargs}
    holder = (test.__self__,) if hasattr(test, "__self__") else ()
    last: dict[str, object] = {}

    def one(**drawn: object) -> None:
        last.clear()
        last.update(drawn)
        inner(*holder, **fixtures, **drawn)

    try_one = settings(database=None)(given(**strategies)(one)).hypothesis.fuzz_one_input
    valid = 0
    for number in range(wanted * _TRIES):
        data = Random(f"{_seed()}/{number}").randbytes(_BUFFER_BYTES)
        try:
            taken = try_one(data)
        except BaseException as error:
            error.add_note(f"example {number} of FUZZ_SEED={_seed()}: {last!r:.5000}")
            raise
        if taken is not None:
            valid += 1
            yield 1
        if valid == wanted:
            return

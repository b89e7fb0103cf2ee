"""The pytest plugin: a cassette for each test that has the fixture or mark ``buffr``.

A suite that does not use it pays for the import of this package alone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from buffr.pytest_plugin.suite import Recording, Suite

__all__ = ["buffr", "buffr_faults", "buffr_url"]

_MODES = ("auto", "record", "replay", "passthrough")
_SUITE = pytest.StashKey["Suite"]()
_OUTCOMES = pytest.StashKey["dict[str, str]"]()
_EXPECTED = pytest.StashKey[set[str]]()
_ORPHANED = pytest.StashKey["list[str] | None"]()
_DESELECTED = pytest.StashKey[int]()
_COMPAT = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("buffr", "buffr: HTTP recorded and replayed")
    group.addoption(
        "--buffr-mode",
        choices=_MODES,
        default=None,
        help="how requests are answered [BUFFR_MODE; replay where CI=true; else auto]",
    )
    group.addoption("--buffr-dir", default=None, metavar="DIR", help="where cassettes are")
    group.addoption(
        "--buffr-report", default=None, metavar="FILE", help="write what was found as JSON"
    )
    group.addoption(
        "--buffr-block-network",
        action="store_true",
        default=False,
        help="refuse all connections but those to buffr's proxy",
    )
    group.addoption(
        "--buffr-isolate",
        action="store_true",
        default=False,
        help="run the whole session inside `buffr run --isolate`: nothing else gets out (Linux)",
    )
    parser.addini("buffr_mode", "as --buffr-mode, where neither it nor BUFFR_MODE is given")
    parser.addini("buffr_dir", "as --buffr-dir")
    parser.addini("buffr_block_network", "as --buffr-block-network", type="bool", default=False)
    parser.addini("buffr_config", "a settings file, whose forward: section holds for all tests")
    parser.addini("buffr_compat", "vcr: the marks, fixtures and options of pytest-recording")


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    compat = early_config.getini("buffr_compat")
    if not compat:
        return
    if compat != "vcr":
        raise pytest.UsageError(f"buffr_compat: {compat!r} must be vcr")
    if early_config.pluginmanager.has_plugin("recording"):
        raise pytest.UsageError(
            "buffr_compat = vcr takes the place of pytest-recording: uninstall it, "
            "or give -p no:recording"
        )
    from buffr.pytest_plugin import compat as plugin  # noqa: PLC0415  # few suites need it

    early_config.pluginmanager.register(plugin, "buffr-vcr")
    early_config.stash[_COMPAT] = True


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Begin again inside, if that is asked for."""
    if config.getoption("--buffr-isolate") and not hasattr(config, "workerinput"):
        from buffr.pytest_plugin.isolated import begin_inside  # noqa: PLC0415  # few ask for it

        begin_inside(config)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "buffr(cassette, mode, match, repeat, block_network, ...): record what the test asks "
        "by HTTP, and replay it",
    )
    config.stash[_OUTCOMES] = {}
    config.stash[_DESELECTED] = 0
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Outcomes(config), "buffr-outcomes")


def _suite(config: pytest.Config) -> Suite:
    suite = config.stash.get(_SUITE, None)
    if suite is None:
        from buffr.pytest_plugin.suite import Suite  # noqa: PLC0415  # no test may need it

        suite = config.stash[_SUITE] = Suite(config)
    return suite


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where the proxy is, which one starts when it needs it."""
    node.workerinput["buffr"] = _suite(node.config).open_door()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:  # noqa: ARG001  # as xdist has it
    told = getattr(node, "workeroutput", {}).get("buffr")
    if told is not None:
        config = node.config
        config.stash.setdefault(_EXPECTED, set()).update(told["expected"])
        config.stash[_DESELECTED] = max(config.stash[_DESELECTED], told["deselected"])


def pytest_deselected(items: list[pytest.Item]) -> None:
    if items:
        items[0].config.stash[_DESELECTED] += len(items)


@pytest.fixture
def buffr_faults() -> Sequence[Mapping[str, Any]]:
    """The faults that a test's requests meet besides its mark's: override or parametrize it."""
    return ()


@pytest.fixture
def buffr(
    request: pytest.FixtureRequest, buffr_faults: Sequence[Mapping[str, Any]]
) -> Iterator[Recording]:
    """What the test asks by HTTP is recorded in its cassette, or replayed from there."""
    from buffr.pytest_plugin.suite import (  # noqa: PLC0415  # no test may need it
        expected_cassette,
        marked,
        settings_in,
    )

    item = request.node
    values = marked(item)
    suite = _suite(request.config)
    mode = suite.mode(values.get("mode"))
    cassette = expected_cassette(item, values)
    settings = settings_in(values)
    if buffr_faults:
        settings["faults"] = [*settings.get("faults", ()), *buffr_faults]
    with suite.recording(item, cassette, mode, settings=settings) as recording:
        yield recording


@pytest.fixture
def buffr_url(buffr: Recording) -> Callable[[str], str]:
    """A base URL in the place of an upstream's, for clients that take one."""
    return buffr.url


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    names: list[str] | None = getattr(item, "fixturenames", None)
    if names is not None and "buffr" not in names and item.get_closest_marker("buffr"):
        names.insert(_first_of_function(item, names), "buffr")


def _first_of_function(item: pytest.Item, names: list[str]) -> int:
    """Behind the fixtures that outlive a test: what they ask is not this test's."""
    definitions = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    for number, name in enumerate(names):
        found = definitions.get(name)
        if not found or found[-1].scope == "function":
            return number
    return len(names)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Block the network, where that is asked for, from the setup of a test to its end."""
    config = item.config
    mark = item.get_closest_marker("buffr")
    said = None if mark is None else mark.kwargs.get("block_network")
    if said is None:
        said = config.getoption("buffr_block_network") or config.getini("buffr_block_network")
    if not said:
        return (yield)
    from buffr.pytest_plugin.network import blocked  # noqa: PLC0415  # no test may need it

    with blocked(() if mark is None else mark.kwargs.get("allowed_hosts", ())):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
    call: pytest.CallInfo[None],  # noqa: ARG001  # as pytest has it
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and _SUITE in item.config.stash:
        from buffr.pytest_plugin.control import ControlError  # noqa: PLC0415  # as above
        from buffr.pytest_plugin.suite import RECORDING, as_lines  # noqa: PLC0415  # as above

        recording = item.stash.get(RECORDING, None)
        if recording is not None and report.when != "setup":
            try:
                told = recording.told
            except ControlError as error:
                report.sections.append(("buffr", str(error)))
                return report
            if told["misses"] or told["failures"]:
                report.sections.append(("buffr", as_lines(told)))
    return report


class _Outcomes:
    """How the tests of a run have ended, those of all its processes."""

    def __init__(self, config: pytest.Config) -> None:
        self._outcomes = config.stash[_OUTCOMES]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self._outcomes[report.nodeid] = report.outcome


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In a worker, tell the controller what there should be; else look for what is left over."""
    config = session.config
    suite = config.stash.get(_SUITE, None)
    if suite is None:
        return
    output = getattr(config, "workeroutput", None)
    if output is not None:
        if suite.used:
            output["buffr"] = {
                "expected": sorted(_expected(session)),
                "deselected": config.stash[_DESELECTED],
            }
        return
    if suite.hub is None:
        return
    from buffr.pytest_plugin.summary import orphans, ran_whole  # noqa: PLC0415  # as above

    expected = config.stash.setdefault(_EXPECTED, set()) | _expected(session)
    if ran_whole(config, exitstatus, config.stash[_DESELECTED]):
        suffixes = {".json", ".yaml"} if config.stash.get(_COMPAT, False) else {".json"}
        config.stash[_ORPHANED] = orphans(expected, frozenset(suffixes))


def _expected(session: pytest.Session) -> set[str]:
    """The cassettes of all tests of this process that may have one."""
    from buffr.pytest_plugin.suite import expected_cassette, marked  # noqa: PLC0415  # as above

    find: Callable[[pytest.Item, Mapping[str, Any]], Path] = expected_cassette
    if session.config.stash.get(_COMPAT, False):
        from buffr.pytest_plugin.compat import expected_of  # noqa: PLC0415  # as above

        find = expected_of
    return {
        str(find(item, marked(item)))
        for item in getattr(session, "items", ())
        if "buffr" in getattr(item, "fixturenames", ())
        or item.get_closest_marker("buffr")
        or item.get_closest_marker("vcr")
    }


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Tell what no test's own report does, and write the report for programs."""
    suite = config.stash.get(_SUITE, None)
    if suite is None or suite.hub is None:
        return
    from attrs import asdict  # noqa: PLC0415  # as above

    from buffr.pytest_plugin.suite import as_json  # noqa: PLC0415  # as above
    from buffr.pytest_plugin.summary import lines_of, tapes_of  # noqa: PLC0415  # as above

    outcomes = config.stash[_OUTCOMES]
    tapes = tapes_of(map(asdict, suite.hub.tapes), outcomes)
    orphaned = config.stash.get(_ORPHANED, None)
    lines = list(lines_of(tapes, orphaned))
    if lines:
        terminalreporter.section("buffr")
        for line in lines:
            terminalreporter.line(line)
    path = config.getoption("buffr_report")
    if path:
        try:
            Path(path).write_text(as_json(tapes, orphaned), encoding="utf-8")
        except OSError as error:
            terminalreporter.line(f"--buffr-report {path}: {error.strerror}", red=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    suite = config.stash.get(_SUITE, None)
    if suite is not None:
        suite.close()

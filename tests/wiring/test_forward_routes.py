from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from buffr.config import load
from buffr.exchanges.route import Passing, Route
from buffr.origin import Origin
from buffr.wiring.caches import Caches
from buffr.wiring.cassettes import Cassettes
from buffr.wiring.forward_routes import ForwardRoutes
from buffr.wiring.routes import RouteMaker, redaction_rules
from buffr.wiring.servers import Servers
from buffr.wiring.upstreams import Upstreams

SETTINGS = """
limits: {body_memory_bytes: 4KiB, linger_s: 3s}
forward:
  bypass: [aside.test]
  share: true
  hosts:
    - {host: kept.test, mode: passthrough}
"""


@pytest.fixture
def routes(tmp_path: Path) -> ForwardRoutes:
    file = tmp_path / "s.yaml"
    file.write_text(SETTINGS)
    config = load(file, {}, {"data_dir": str(tmp_path)})
    assert config.forward is not None
    reactor, rules = MemoryReactorClock(), redaction_rules(config)
    maker = RouteMaker(
        config,
        rules,
        Upstreams(config, reactor, set),
        Cassettes(config, reactor, rules, Servers(config, reactor)),
        Caches(config, reactor, Servers(config, reactor)),
        reactor,
    )
    return ForwardRoutes(config.forward, maker)


def of(routes: ForwardRoutes, host: str) -> Route:
    found: list[Route] = []
    Deferred.fromCoroutine(routes.of(Origin("http", host, 80), "")).addCallback(found.append)
    return found[0]


class TestBounds:
    @pytest.mark.parametrize("host", ["kept.test", "aside.test"])
    def test_limits_hold_for_every_host(self, routes: ForwardRoutes, host: str) -> None:
        """For those that are bypassed, too."""
        route = of(routes, host)
        assert (route.body_memory_bytes, route.linger_s) == (4096, 3)

    def test_a_bypassed_host_shares_no_call(self, routes: ForwardRoutes) -> None:
        """Whatever the forward proxy says of sharing: it is relayed as it is."""
        route = of(routes, "aside.test")
        assert isinstance(route, Passing)
        assert route.src == "bypass"

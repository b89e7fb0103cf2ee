"""A caching proxy inside a program, without a network: two names, two TTLs.

    python examples/embedded_ttls.py

An upstream that returns the time stands in for a reference API. A request that is
repeated within the TTL is answered from the cache, as `Cache-Status` shows.
"""

from __future__ import annotations

import sys
import time
from urllib.request import urlopen

from buffr import CachingProxy
from buffr.testing import FakeUpstream, Received, answer


def tell_the_time(_: Received) -> bytes:
    time.sleep(0.2)  # reference APIs are slow
    return answer(time.strftime("%H:%M:%S").encode())


def main() -> None:
    with FakeUpstream(tell_the_time) as upstream:
        config = {
            "server": {"port": 0},
            "logging": {"enable_console": False},
            "domain_mappings": {
                "prices": {"upstream": upstream.url, "ttl_seconds": 1},
                "words": {"upstream": upstream.url, "ttl_seconds": 86400},
            },
        }
        with CachingProxy(config) as proxy:
            assert proxy.server is not None
            base = f"http://127.0.0.1:{proxy.server.server_port}"
            for _ in range(4):
                for name in ("prices", "words"):
                    began = time.perf_counter()
                    with urlopen(f"{base}/{name}/now") as found:  # noqa: S310  # our own proxy
                        text, status = found.read().decode(), found.headers["Cache-Status"]
                    took_ms = (time.perf_counter() - began) * 1000
                    sys.stdout.write(f"{name:8}{text}  {took_ms:5.0f} ms  {status}\n")
                time.sleep(0.6)
            stats = proxy.get_monitoring_manager().get_cache_stats()
            sys.stdout.write(f"{stats['hit_count']} hits, {stats['miss_count']} misses\n")


if __name__ == "__main__":
    main()

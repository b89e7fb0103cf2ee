"""``python -m benchmarks.fuzz [--examples N] [--only NAME]``: hostile bytes for all who read.

First come the tests of the suite that take strangers' bytes, with N examples
each, other ones in each run; those that only hold what buffr writes against what
it reads get a tenth of them. Then, where atheris is installed, each reader of
``fuzz_readers`` gets N inputs that atheris makes out of what the reader's code
does with the ones before. A reader may give a value, or the error that its
callers expect. Anything else fails the run, with the input that did it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from benchmarks.fuzz_readers import READERS

_TREE = Path(__file__).parents[1]
_HOSTILE = (
    "tests/tls/test_server_name.py",
    "tests/wire/test_hostile_bytes.py",
    "tests/wire/test_answer_heads.py",
    "tests/wire/test_http1_requests.py",
    "tests/wire/test_http2_requests.py",
    "tests/wire/test_http2_engines.py::TestFaults",
    "tests/wire/test_references.py",
    "tests/wire/test_websocket.py::TestFaults",
    "tests/wire/test_websocket.py::TestWhatPasses",
    "tests/formats/test_codings.py::TestDecoded",
    "tests/formats/test_envelopes.py",
    "tests/formats/test_grpc_messages.py",
    "tests/formats/test_llm_usage.py",
    "tests/formats/test_multipart_parts.py",
    "tests/formats/test_protobuf.py",
    "tests/listeners/test_hostile_http2.py",
    "tests/listeners/test_request_target.py",
    "tests/policy/test_bypass.py",
    "tests/stores/test_cassette_damage.py",
    "tests/stores/test_cassette_layout.py",
    "tests/interchange/test_untrusted.py",
    "tests/isolate/test_dns.py",
    "tests/isolate/test_first_bytes.py",
    "tests/isolate/test_packets.py",
    "tests/config/test_config_fuzz.py::TestComposition",
    "tests/config/test_config_fuzz.py::TestHostileText",
)
_ROUND_TRIPS = (
    "tests/wire/test_body_decoders.py",
    "tests/wire/test_http2_engines.py::TestMessages",
    "tests/wire/test_volatile_fields.py",
    "tests/wire/test_websocket.py::TestWholeMessages",
    "tests/wire/test_websocket.py::TestWriting",
    "tests/config/test_config_fuzz.py::TestSecrets",
    "tests/formats/test_codings.py::TestPieces",
    "tests/formats/test_json_paths.py",
    "tests/formats/test_jsonrpc.py",
    "tests/listeners/test_cuts.py",
    "tests/stores/test_cache_store_contract.py",
    "tests/stores/test_cassette_format.py",
    "tests/stores/test_cassette_sessions.py",
)


def _commands(examples: int) -> Iterator[tuple[str, int, list[str]]]:
    """What is run: by what name, with how many examples, and how."""
    pytest = [sys.executable, "-m", "pytest", "-n", "0", "-p", "benchmarks.fuzz_tests"]
    for paths, count in ((_HOSTILE, examples), (_ROUND_TRIPS, examples // 10)):
        for path in paths:
            yield path, count, [*pytest, "--fuzz", str(count), path]
    if find_spec("atheris") is None:
        print("atheris is not installed (pip install atheris): its inputs are left out")
        return
    for name in READERS:
        command = [sys.executable, "-m", "benchmarks.fuzz_reader", name, str(examples)]
        yield name, examples, command


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--only", help="what has this in its name, such as cassette")
    given = parser.parse_args()
    failed = []
    for name, count, command in _commands(given.examples):
        if given.only is not None and given.only not in name:
            continue
        print(f"{name}: {count:,} inputs", flush=True)
        began = time.monotonic()
        done = subprocess.run(command, cwd=_TREE, check=False)
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
        if done.returncode:
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "a value or the expected error, each time")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

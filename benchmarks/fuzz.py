"""``python -m benchmarks.fuzz [--examples N] [--only NAME]``: hostile bytes for all who read.

First come the tests of the suite that take any bytes, with N examples each, new
ones in each run. Then, where atheris is installed, each reader below gets N
inputs that atheris makes out of what the reader's code does with the ones
before. A reader may give a value, or the error that its callers expect.
Anything else ends the run with the input that did it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import zstandard

from buffr.config import load
from buffr.errors import BuffrError
from buffr.formats.codings import BadCoding, are_known, decoded, decoding
from buffr.interchange.formats import FORMATS, format_of
from buffr.interchange.source import ImportLimits, Source
from buffr.listeners.request_target import absolute_form, authority_form
from buffr.message import CHUNKED, Request
from buffr.stores.cassette.format import decode
from buffr.stores.cassette.layout import Layout
from buffr.stores.sqlite.elements import plain
from buffr.stores.sqlite.rows import body_of, entry_of
from buffr.tls.server_name import BadServerName, server_name
from buffr.wire.http1_body import decoder_for
from buffr.wire.http1_head import END_OF_HEAD, HeadLimits, parse_request_head, parse_response_head
from buffr.wire.websocket_frames import FrameReader

_TREE = Path(__file__).parents[1]
_TESTS = (
    "tests/wire",
    "tests/formats",
    "tests/config/test_config_fuzz.py",
    "tests/interchange/test_untrusted.py",
    "tests/listeners/test_cuts.py",
    "tests/listeners/test_hostile_http2.py",
    "tests/listeners/test_request_target.py",
    "tests/policy/test_bypass.py",
    "tests/stores/test_cassette_damage.py",
    "tests/stores/test_cassette_format.py",
    "tests/stores/test_cassette_layout.py",
    "tests/stores/test_cache_store_contract.py",
    "tests/tls/test_server_name.py",
)
_LIMITS = HeadLimits()
_CODINGS = (b"gzip", b"deflate", b"br", b"zstd", b"gzip, br", b"gzip, " * 9)
_LARGEST = 1 << 20


def _request_head(data: bytes) -> None:
    parse_request_head(data + END_OF_HEAD, _LIMITS)


def _answer_head(data: bytes) -> None:
    parse_response_head(data + END_OF_HEAD, _LIMITS)


def _chunks(data: bytes) -> None:
    decoder = decoder_for(CHUNKED)
    for place in range(0, len(data), 7):
        decoder.feed(data[place : place + 7])


def _frames(data: bytes) -> None:
    if data:
        reader = FrameReader(masked=bool(data[0] & 1), message_bytes=_LARGEST)
        for place in range(1, len(data), 5):
            list(reader.feed(data[place : place + 5]))


def _codings(data: bytes) -> None:
    if data:
        codings = _CODINGS[data[0] % len(_CODINGS)]
        decoded(codings, data[1:], limit_bytes=_LARGEST)
        if are_known(codings):
            size = 0
            with suppress(BadCoding):
                for piece in decoding(codings, [data[1:]]):
                    size += len(piece)
                    if size > _LARGEST:
                        break


def _authority(data: bytes) -> None:
    authority_form(Request(b"CONNECT", data, ()))


def _absolute(data: bytes) -> None:
    absolute_form(Request(b"GET", b"http://" + data, ()))


def _server_name(data: bytes) -> None:
    with suppress(BadServerName):
        server_name(data)


def _cassette(data: bytes) -> None:
    for _ in Layout.of(data, Path("fuzz.json")).elements():
        pass


def _element(data: bytes) -> None:
    decode(data, Path("fuzz.d"))


def _rows(data: bytes) -> None:
    """A row whose bytes are any; its columns have the types that the table demands."""
    with suppress(ValueError):
        entry_of(b"k", (1, b"", "", "", 0.0, 0.0, 0.0, 0.0, data, 0, 0, None), b"")
    with suppress(ValueError):
        body_of(data, 1, 1000, zstandard.ZstdDecompressor())
    with suppress(zstandard.ZstdError):
        plain((data, 1, 1000))


def _in_file(read: Callable[[Path], None]) -> Callable[[bytes], None]:
    directory = TemporaryDirectory()
    path = Path(directory.name) / "fuzz"

    def take(data: bytes, _kept: object = directory) -> None:
        path.write_bytes(data)
        read(path)

    return take


def _settings(path: Path) -> None:
    load(path, {}, {})


def _imports(path: Path) -> None:
    limits = ImportLimits(element_bytes=_LARGEST, file_bytes=_LARGEST)
    for kind in FORMATS.values():
        with suppress(BuffrError):
            for _ in kind.read(Source(path, limits)):
                pass
    format_of(Source(path, limits))


READERS: dict[str, Callable[[], Callable[[bytes], None]]] = {
    "request-head": lambda: _request_head,
    "answer-head": lambda: _answer_head,
    "chunks": lambda: _chunks,
    "frames": lambda: _frames,
    "codings": lambda: _codings,
    "authority": lambda: _authority,
    "absolute": lambda: _absolute,
    "server-name": lambda: _server_name,
    "cassette": lambda: _cassette,
    "element": lambda: _element,
    "rows": lambda: _rows,
    "settings": lambda: _in_file(_settings),
    "imports": lambda: _in_file(_imports),
}


def _fuzz(name: str, examples: int) -> None:
    """Give one reader its inputs; ends the process."""
    atheris = import_module("atheris")  # not everywhere
    read = READERS[name]()

    def one(data: bytes) -> None:
        with suppress(BuffrError):
            read(data)

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], f"-runs={examples}", "-max_len=2048", "-verbosity=0"], one)
    atheris.Fuzz()


def _commands(only: str | None, examples: int) -> Iterator[tuple[str, list[str]]]:
    if only is None or only == "suite":
        yield (
            "suite",
            [
                *(sys.executable, "-m", "pytest", "-n", "auto", "--dist", "worksteal"),
                *("--hypothesis-profile=fuzz", *_TESTS),
            ],
        )
    if find_spec("atheris") is None:
        print("atheris is not installed (pip install atheris): its inputs are left out")
        return
    for name in READERS:
        if only is None or only == name:
            reader = ["--reader", name, "--examples", str(examples)]
            yield name, [sys.executable, "-m", "benchmarks.fuzz", *reader]


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--only", choices=["suite", *READERS])
    parser.add_argument("--reader", choices=list(READERS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.reader is not None:
        _fuzz(given.reader, given.examples)
    failed = []
    for name, command in _commands(given.only, given.examples):
        print(f"{name}: {given.examples:,} inputs", flush=True)
        environ = {**os.environ, "FUZZ_EXAMPLES": str(given.examples)}
        done = subprocess.run(command, cwd=_TREE, env=environ, check=False)
        if done.returncode:
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "a value or the expected error, each time")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

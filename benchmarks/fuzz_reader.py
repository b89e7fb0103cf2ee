"""``python -m benchmarks.fuzz_reader NAME N``: N inputs of atheris for one reader.

A process of its own, as what buffr imports has to be watched from the first.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

_SAMPLES = Path(__file__).parents[1] / "tests/interchange/samples"
_LONGEST = 8192


def _samples(corpus: Path) -> None:
    """What an importer's inputs are made of at first: files of the real programs."""
    for number, path in enumerate(sorted(_SAMPLES.rglob("*.*"))):
        if path.is_file() and path.stat().st_size <= _LONGEST:
            shutil.copy(path, corpus / str(number))


def main() -> None:
    name, examples = sys.argv[1:]
    with atheris.instrument_imports(include=["buffr"]):
        from benchmarks.fuzz_readers import READERS  # noqa: PLC0415
        from buffr.errors import BuffrError  # noqa: PLC0415
    read = READERS[name]()

    def one(data: bytes) -> None:
        with suppress(BuffrError):
            read(data)

    with TemporaryDirectory() as corpus:
        if name.startswith("import-"):
            _samples(Path(corpus))
        options = [f"-runs={examples}", f"-max_len={_LONGEST}", "-verbosity=0"]
        atheris.Setup([sys.argv[0], *options, corpus], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()

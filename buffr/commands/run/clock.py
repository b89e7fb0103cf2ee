"""``buffr run --clock``: the command lives at the time of its recordings, by libfaketime."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import frozen

from buffr.commands.cassette.arguments import is_cassette
from buffr.config import Config
from buffr.errors import ConfigError
from buffr.exchanges.ages import recorded_s
from buffr.stores.cassette.format import decode_index
from buffr.stores.cassette.snapshot import read_snapshot
from buffr.tls.authority import Authority

__all__ = ["RECORDED", "CommandClock", "library", "moment"]

RECORDED = "recorded"

_PLACES = (
    "usr/lib/*/faketime/libfaketimeMT.so.1",
    "usr/lib/faketime/libfaketimeMT.so.1",
    "usr/lib64/faketime/libfaketimeMT.so.1",
    "usr/local/lib/faketime/libfaketimeMT.so.1",
    "opt/homebrew/lib/faketime/libfaketime.1.dylib",
    "usr/local/lib/faketime/libfaketime.1.dylib",
)
"""Where Debian, Fedora, Arch, a build from source and Homebrew have it."""

_PRELOAD = "DYLD_INSERT_LIBRARIES" if sys.platform == "darwin" else "LD_PRELOAD"
_SITE = """\
# Written by buffr run --clock: libfaketime 0.9.10 breaks time.sleep of Python 3.11 and later.
import importlib
import os
import select
import sys
import time


def sleep(seconds, /):
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], seconds)


time.sleep = sleep
here = os.path.dirname(__file__)
sys.path[:] = [each for each in sys.path if each != here]
ours = sys.modules.pop("sitecustomize")
try:
    importlib.import_module("sitecustomize")
except ModuleNotFoundError:
    sys.modules["sitecustomize"] = ours
"""
_PROBE = "import time; time.sleep(1e-9)"
_FAR_APART = timedelta(hours=1)
_INTERPRETER = 3
"""PT_INTERP: the program's loader, which loads other libraries, too (elf(5))."""
_MOST_HEADERS = 64
_PATIENCE_S = 30


def moment(text: str) -> datetime | None:
    """The time that ``--clock`` names; ``None`` for that of the recordings.

    Raises ``ValueError`` for anything else.
    """
    if text == RECORDED:
        return None
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


@frozen
class CommandClock:
    """By how much the command's clock differs from this machine's."""

    offset: timedelta
    library: Path

    @classmethod
    def of(cls, asked: str, command: str, config: Config, now: datetime) -> CommandClock:
        """The clock that ``asked``, the value of ``--clock``, means for a command.

        Raises ``ConfigError``: nothing is recorded, answers are moved in time
        already, libfaketime is not installed, or it cannot reach the command.
        """
        _refuse_moved(config)
        when = moment(asked) or _first_recorded(config)
        if _is_static(command):
            raise ConfigError(
                f"--clock: {command} is linked statically, and libfaketime cannot reach it",
                hint="set replay_clock: shifted instead, which moves the answers",
            )
        return cls(when - now, library())

    def now(self) -> datetime:
        """The time by the command's clock."""
        return datetime.now(UTC) + self.offset

    def authority(self, config: Config) -> Authority:
        """The CA, which is made for the command's time if there is none.

        Raises ``ConfigError`` that names a CA that is not valid then.
        """
        try:
            return Authority.load_or_create(config.ca_cert, config.ca_key, self.now())
        except ConfigError as error:
            when = self.now().date().isoformat()
            hint = f"remove {config.ca_cert} and {config.ca_key}, and a CA for that time is made"
            raise ConfigError(
                f"--clock: on {when} clients would not trust buffr: {error.message}", hint=hint
            ) from error

    def environment(self, environ: Mapping[str, str], directory: Path) -> dict[str, str]:
        """The environment of the command, in which its clock is set.

        Waits last as long as ever, and the times of files stay: compilers and
        Python's caches depend on them. ``directory`` is for a file that Python
        needs with an old libfaketime.
        """
        environ = self._preloading(environ)
        if _can_sleep(environ):
            return environ
        place = directory / "python"
        place.mkdir()
        (place / "sitecustomize.py").write_text(_SITE)
        before = environ.get("PYTHONPATH")
        return {**environ, "PYTHONPATH": f"{place}:{before}" if before else str(place)}

    def _preloading(self, environ: Mapping[str, str]) -> dict[str, str]:
        before = environ.get(_PRELOAD)
        ours = {
            _PRELOAD: f"{self.library}:{before}" if before else str(self.library),
            "FAKETIME": f"{round(self.offset.total_seconds()):+d}",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        if sys.platform == "darwin":
            ours["DYLD_FORCE_FLAT_NAMESPACE"] = "1"
        return {**environ, **ours}


def _can_sleep(environ: Mapping[str, str]) -> bool:
    """Whether Python's waits work in an environment (libfaketime's issue 426)."""
    probe = [sys.executable, "-I", "-S", "-c", _PROBE]
    done = subprocess.run(  # noqa: S603  # a command of ours
        probe, env=environ, check=False, stderr=subprocess.DEVNULL, timeout=_PATIENCE_S
    )
    return done.returncode == 0


def _refuse_moved(config: Config) -> None:
    forward = config.forward
    assert forward is not None
    if any(row.replay_clock.show != RECORDED for row in (forward, *forward.hosts)):
        raise ConfigError(
            "--clock: replay_clock moves the answers to the present already",
            hint="use one of the two",
        )


def _first_recorded(config: Config) -> datetime:
    """When the first recording of this run's cassettes was made; says so if they are far apart."""
    paths = list(_cassettes(config))
    times = sorted([made for path in paths for made in _recorded(path)])
    if not times:
        where = ", ".join(map(str, paths)) or str(config.data_dir)
        raise ConfigError(
            f"--clock recorded: no recording with a date is in {where}",
            hint="record in mode auto first, or name a date",
        )
    if times[-1] - times[0] > _FAR_APART:
        first, last = (each.isoformat(timespec="minutes") for each in (times[0], times[-1]))
        sys.stderr.write(
            f"buffr: recordings of {first} to {last}: the command's clock starts at the first\n"
        )
    return times[0]


def _cassettes(config: Config) -> Iterator[Path]:
    """The cassettes that may answer, as far as they exist."""
    forward = config.forward
    assert forward is not None
    named = [row.cassette for row in forward.hosts if row.cassette is not None]
    if forward.cassette is not None:
        named.append(forward.cassette)
    else:
        named += sorted(config.data_dir.glob("*.json"))
    for path in dict.fromkeys(named):
        if path.is_file() and is_cassette(path):
            yield path


def _recorded(path: Path) -> Iterator[datetime]:
    snapshot = read_snapshot(path, lambda _: None)
    for number in range(len(snapshot)):
        element = decode_index(snapshot.element(number))
        recording = element.http or element.websocket
        made_s = None if recording is None else recorded_s(recording.recorded_at)
        if made_s is not None:
            yield datetime.fromtimestamp(made_s, UTC)


def library(root: Path = Path("/")) -> Path:
    """Where libfaketime is. Raises ``ConfigError`` if it is not installed."""
    for place in _PLACES:
        for path in sorted(root.glob(place)):
            return path
    raise ConfigError(
        "--clock: libfaketime is not installed",
        hint="install it (Debian, Ubuntu, Arch, Fedora: the package faketime or libfaketime; "
        "macOS: brew install libfaketime), or set replay_clock: shifted",
    )


def _is_static(command: str) -> bool:
    """Whether a program is an ELF file without a loader. Scripts and others are not."""
    path = shutil.which(command)
    if path is None:
        return False
    try:
        with Path(path).open("rb", buffering=0) as file:
            head = file.read(64)
            if head[:6] != b"\x7fELF\x02\x01":
                return False
            (at,) = struct.unpack_from("<Q", head, 32)
            size, count = struct.unpack_from("<HH", head, 54)
            kinds = []
            for number in range(min(count, _MOST_HEADERS)):
                file.seek(at + number * size)
                kinds.append(struct.unpack("<I", file.read(4))[0])
    except (OSError, struct.error):
        return False
    return _INTERPRETER not in kinds

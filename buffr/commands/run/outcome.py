"""What came of a run."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from buffr.commands.run.child import Ended
from buffr.commands.run.tally import Row, Tally
from buffr.commands.run.unused import Unused
from buffr.exchanges.exchange import Counters

__all__ = ["Failure", "Outcome", "times"]


@frozen
class Failure:
    """Why a run fails that else went well. ``flag`` is the option that asked for it."""

    flag: str
    why: str


@frozen(eq=False)
class Outcome:
    """What came of a run. ``command`` is the name of the program alone: arguments may be secret.

    ``fail_on`` is what was asked to make it fail.
    """

    command: str
    ended: Ended
    dur_s: float
    counters: Counters
    tally: Tally
    unused: Sequence[Unused]
    fail_on: tuple[str, ...]

    @property
    def misses(self) -> list[Row]:
        return self.tally.from_source("miss")

    @property
    def failed(self) -> list[Row]:
        """Exchanges that failed in buffr or at the upstream."""
        return [row for row in self.tally.rows.values() if row.level == "ERROR"]

    @property
    def refused(self) -> int:
        """How many requests got an error of buffr's before they were an exchange."""
        return sum(self.tally.refusals.values())

    @property
    def bypassed(self) -> dict[str, int]:
        """How often each host was reached without being looked into."""
        found: dict[str, int] = {}
        for row in self.tally.from_source("bypass"):
            host = row.request.partition(" ")[2].removeprefix("http://").partition("/")[0]
            found[host] = found.get(host, 0) + row.count
        return found

    @property
    def failures(self) -> list[Failure]:
        """What was asked to fail, and does."""
        why = {
            "miss": self._missed(),
            "record": self.counters.recorded
            and f"{times(self.counters.recorded, 'answer was', 'answers were')} recorded",
            "unused": self.unused
            and f"{times(len(self.unused), 'recording was', 'recordings were')} never replayed",
        }
        return [Failure(f"--fail-on-{what}", str(why[what])) for what in self.fail_on if why[what]]

    def _missed(self) -> str:
        """A cassette that is not there, or cannot be read, keeps requests from being exchanges."""
        unanswered = sum(
            count for (status, _), count in self.tally.refusals.items() if status == "500"
        )
        missed = self.counters.misses + unanswered
        return f"{times(missed, 'request', 'requests')} found no recording" if missed else ""

    @property
    def exit_code(self) -> int:
        """The command's, or 1 for a failure that the command does not know of."""
        return self.ended.code or (1 if self.failures else 0)


def times(count: int, one: str, more: str) -> str:
    """A count with its noun."""
    return f"{count} {one if count == 1 else more}"

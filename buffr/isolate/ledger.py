"""What a command asked for inside: hosts and ports, by which program, and what was refused."""

from __future__ import annotations

from attrs import define, field, frozen

from buffr.origin import host_and_port

__all__ = ["AskedFor", "Ledger", "Refusal"]

_MOST_ROWS = 10_000


@define
class AskedFor:
    """A host and port that connections were made to. ``programs`` counts those of each."""

    host: str
    port: int
    programs: dict[str, int] = field(factory=dict)
    relayed: int = 0

    @property
    def count(self) -> int:
        return sum(self.programs.values())


@frozen
class Refusal:
    """An attempt that was refused. ``flag`` would let it pass, if anything does."""

    program: str
    protocol: str
    host: str
    port: int
    why: str
    flag: str = ""

    @property
    def where(self) -> str:
        """Host and port, or the host alone where the protocol has no ports."""
        return host_and_port(self.host, self.port) if self.port else self.host


@define(eq=False)
class Ledger:
    """Rows are bounded; ``left_out`` counts what came beyond them.

    ``nested`` counts network namespaces that programs made for themselves.
    """

    asked: dict[tuple[str, int], AskedFor] = field(factory=dict)
    refusals: dict[Refusal, int] = field(factory=dict)
    nested: dict[str, int] = field(factory=dict)
    left_out: int = 0

    def came(self, host: str, port: int, program: str, *, relayed: bool) -> None:
        """Count a connection."""
        row = self.asked.get((host, port))
        if row is None:
            if len(self.asked) >= _MOST_ROWS:
                self.left_out += 1
                return
            row = self.asked[host, port] = AskedFor(host, port)
        row.programs[program] = row.programs.get(program, 0) + 1
        row.relayed += relayed

    def refused(self, refusal: Refusal) -> bool:
        """Count an attempt; returns whether it is the first of its kind."""
        count = self.refusals.get(refusal)
        if count is None and len(self.refusals) >= _MOST_ROWS:
            self.left_out += 1
            return False
        self.refusals[refusal] = (count or 0) + 1
        return count is None

    def made_namespace(self, program: str) -> None:
        """Count a network namespace that a program made inside."""
        if program in self.nested or len(self.nested) < _MOST_ROWS:
            self.nested[program] = self.nested.get(program, 0) + 1

    @property
    def attempts(self) -> int:
        """How many attempts were refused."""
        return sum(self.refusals.values())

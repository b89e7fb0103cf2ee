"""What came of a run: the summary for people, the reports for programs, the exit code."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from attrs import evolve

from buffr.commands.run.child import Ended
from buffr.commands.run.outcome import Counts, Outcome, Tally, summary
from buffr.commands.run.report import as_json, as_junit, write_report
from buffr.commands.terminal import Paint, paint_for
from buffr.exchanges.exchange import Finished
from buffr.isolate.ledger import Ledger, Refusal
from buffr.wiring.unused import Unused

PLAIN = Paint(on=False)
HOST = "https://api.test"


def finished(
    request: str, status: int = 200, src: str = "cassette", detail: str = "", level: str = "INFO"
) -> Finished:
    return Finished(request, status, level, src, detail, 0.25, None)


def outcome(
    *exchanges: Finished,
    ended: Ended | None = None,
    counters: Counts | None = None,
    unused: tuple[Unused, ...] = (),
    fail_on: tuple[str, ...] = (),
) -> Outcome:
    tally = Tally()
    for one in exchanges:
        tally.finished(one)
    return Outcome("curl", ended or Ended(0), 1.5, counters or Counts(), tally, unused, fail_on)


MISS = finished(f"GET {HOST}/m", 599, "miss", "no recording\npath: 'a', 'b'", "WARN")
UNUSED = (Unused("api.json", f"GET {HOST}/never"),)
FAILING = outcome(
    finished(f"GET {HOST}/a"),
    finished(f"GET {HOST}/a"),
    MISS,
    counters=Counts(hits=2, misses=1, recorded=1),
    unused=UNUSED,
    fail_on=("miss", "record", "unused"),
)


class TestExitCode:
    @pytest.mark.parametrize("what", ["miss", "record", "unused"])
    def test_what_was_asked_to_fail(self, what: str) -> None:
        counters = Counts(misses=1, recorded=1)
        run = outcome(MISS, counters=counters, unused=UNUSED, fail_on=(what,))
        assert run.exit_code == 1
        assert [one.flag for one in run.failures] == [f"--fail-on-{what}"]
        assert outcome(MISS, counters=counters, unused=UNUSED).exit_code == 0
        assert outcome(fail_on=(what,)).exit_code == 0

    def test_a_command_that_failed_has_the_say(self) -> None:
        counters = Counts(misses=1)
        run = outcome(MISS, ended=Ended(22), counters=counters, fail_on=("miss",))
        assert run.exit_code == 22
        assert "exit code 1" not in summary(run, PLAIN)

    def test_a_cassette_that_cannot_be_read_is_as_good_as_a_miss(self) -> None:
        run = outcome(fail_on=("miss",))
        run.tally.refused("400", "malformed")
        assert run.exit_code == 0
        run.tally.refused("500", "api.json:1:1: nonsense")
        assert run.exit_code == 1


class TestSummary:
    def test_all_of_it(self) -> None:
        assert summary(FAILING, PLAIN).splitlines() == [
            "buffr: 2 hits, 1 recorded, 1 miss, 1 unused",
            f"  miss      GET {HOST}/m",
            "            no recording",
            "            path: 'a', 'b'",
            f"  unused    api.json: GET {HOST}/never",
            "buffr: --fail-on-miss: 1 request found no recording; exit code 1",
            "buffr: --fail-on-record: 1 answer was recorded; exit code 1",
            "buffr: --fail-on-unused: 1 recording was never replayed; exit code 1",
        ]

    def test_each_once(self) -> None:
        """Clients that try again miss again."""
        text = summary(outcome(MISS, MISS, counters=Counts(misses=2)), PLAIN)
        assert "2 misses" in text
        assert text.count(f"GET {HOST}/m (2 times)\n") == 1

    def test_long_lists_are_cut(self) -> None:
        misses = [finished(f"GET {HOST}/{n}", 599, "miss", "x\n" * 50) for n in range(30)]
        many = tuple(Unused("a.json", f"GET {HOST}/{n}") for n in range(30))
        text = summary(outcome(*misses, unused=many), PLAIN)
        assert "... and 20 more\n" in text
        assert "... and 25 more\n" in text
        assert len(text.splitlines()) < 200

    def test_bypassed_hosts(self) -> None:
        text = summary(
            outcome(
                finished("CONNECT a.test:443", 200, "bypass"),
                finished("CONNECT a.test:443", 200, "bypass"),
                finished("GET http://b.test/x/y", 200, "bypass"),
            ),
            PLAIN,
        )
        assert "2 hosts bypassed" in text
        assert "  bypassed  a.test:443 (2 times)\n" in text
        assert "  bypassed  b.test\n" in text

    def test_nothing_came_through(self) -> None:
        assert "nothing came through the proxy" in summary(outcome(), PLAIN)

    def test_connections_alone_came(self) -> None:
        result = outcome()
        result.tally.connections = 2
        text = summary(result, PLAIN)
        assert "2 connections came to the proxy, and no request" in text
        assert "nothing came" not in text

    def test_hosts_whose_certificate_was_not_taken(self) -> None:
        """They are named, with what to do, in the summary and in the report."""
        result = outcome()
        result.tally.without_tls("a.test", "client left the TLS handshake: trust the CA")
        text = summary(result, PLAIN)
        assert "1 host without TLS" in text
        assert "  no TLS    a.test\n" in text
        assert "trust the CA\n" in text
        assert "nothing came" not in text
        report = json.loads(as_json(result))
        assert report["counts"]["without_tls"] == 1
        assert report["without_tls"] == [
            {"host": "a.test", "detail": "client left the TLS handshake: trust the CA"}
        ]

    def test_nothing_steers_the_terminal(self) -> None:
        """A cassette that somebody sent may have anything in it."""
        bad = (Unused("a.json", "GET \x1b]0;title\x07\u202e\x9b31m"),)
        text = summary(outcome(MISS, unused=bad), PLAIN)
        assert "\\x1b]0;title\\x07" in text
        for character in "\x1b\x07\x9b\u202e":
            assert character not in text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestColours:
    def test_on_a_terminal_alone(self) -> None:
        assert paint_for(Terminal(), {}).on
        assert not paint_for(io.StringIO(), {}).on

    def test_not_where_nobody_wants_them(self) -> None:
        assert not paint_for(Terminal(), {"NO_COLOR": "1"}).on
        assert not paint_for(Terminal(), {"TERM": "dumb"}).on
        assert paint_for(Terminal(), {"NO_COLOR": ""}).on

    def test_they_change_no_words(self) -> None:
        text = summary(FAILING, Paint(on=True))
        assert "\x1b[31mmiss" in text
        plain = summary(FAILING, PLAIN)
        assert len(plain.splitlines()) == len(text.splitlines())


class TestJSON:
    def test_it_says_all(self) -> None:
        report = json.loads(as_json(FAILING))
        assert report["version"] == 1
        assert report["exit_code"] == 1
        assert report["command_exit_code"] == 0
        assert report["duration_ms"] == 1500
        assert [one["flag"] for one in report["failures"]] == [
            "--fail-on-miss",
            "--fail-on-record",
            "--fail-on-unused",
        ]
        assert report["requests"][0] == {
            "method": "GET",
            "url": f"{HOST}/a",
            "status": 200,
            "src": "cassette",
            "count": 2,
            "duration_ms": 500,
            "detail": "",
        }
        assert report["unused"] == [
            {"cassette": "api.json", "method": "GET", "url": f"{HOST}/never"}
        ]

    def test_a_signal_has_its_name(self) -> None:
        report = json.loads(as_json(outcome(ended=Ended(137, "SIGKILL"))))
        assert (report["exit_code"], report["killed_by"]) == (137, "SIGKILL")

    def test_rows_are_bounded(self) -> None:
        run = outcome(*(finished(f"GET {HOST}/{number}") for number in range(20_010)))
        report = json.loads(as_json(run))
        assert len(report["requests"]) == 20_000
        assert report["requests_left_out"] == 10


class TestJUnit:
    def test_it_fails_where_the_run_does(self) -> None:
        suite = ET.fromstring(as_junit(FAILING))[0]
        # The three that were asked for, the miss, and the unused one.
        assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("7", "5", "0")
        suite = ET.fromstring(as_junit(outcome(MISS, unused=UNUSED)))[0]
        assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "0", "2")

    def test_a_command_that_failed(self) -> None:
        suite = ET.fromstring(as_junit(outcome(ended=Ended(137, "SIGKILL"))))[0]
        failure = suite[0].find("failure")
        assert failure is not None
        assert failure.get("message") == "exit code 137, killed by SIGKILL"

    def test_it_is_xml_whatever_was_asked_for(self) -> None:
        rows = [finished('GET https://a.test/?a=<&>"\x00\x0b\ud800\uffff', detail="\x01 ]]> <x>")]
        suite = ET.fromstring(as_junit(outcome(*rows)))[0]
        assert 'GET https://a.test/?a=<&>"' in str(suite[1].get("name"))

    def test_the_files_name_says_which(self, tmp_path: Path) -> None:
        for name, start in (("r.xml", b"<?xml"), ("r.json", b"{")):
            write_report(tmp_path / name, FAILING)
            assert (tmp_path / name).read_bytes().startswith(start)


def isolated(*fail_on: str) -> Outcome:
    """What came of a command inside that asked two programs' hosts, and tried a database."""
    ledger = Ledger()
    ledger.came("api.test", 443, "curl", relayed=False)
    ledger.came("api.test", 443, "node", relayed=False)
    ledger.came("127.0.0.1", 5432, "psql", relayed=True)
    why = "PostgreSQL cannot be recorded"
    for _ in range(2):
        ledger.refused(
            Refusal("psql", "tcp", "2001:db8::5", 5432, why, "--allow [2001:db8::5]:5432")
        )
    for _ in range(3):
        ledger.made_namespace("chromium")
    run = outcome(finished(f"GET {HOST}/a"), MISS, counters=Counts(hits=1, misses=1))
    return evolve(run, ledger=ledger, fail_on=fail_on)


class TestIsolated:
    def test_the_summary_has_hosts_programs_and_escapes(self) -> None:
        text = summary(isolated("escape"), PLAIN)
        assert "2 escapes refused" in text
        assert "  escape    psql: [2001:db8::5]:5432 by tcp (2 times)\n" in text
        assert "PostgreSQL cannot be recorded; --allow [2001:db8::5]:5432 lets it pass\n" in text
        assert "  asked     api.test:443 by curl, node: 1 replayed, 1 missed\n" in text
        assert "  asked     127.0.0.1:5432 by psql: 1 connection relayed\n" in text
        assert "  nested    chromium: a network namespace of its own, " in text
        assert "buffr: --fail-on-escape: 2 attempts to get out refused; exit code 1\n" in text

    def test_only_the_flag_makes_it_fail(self) -> None:
        assert isolated().exit_code == 0
        assert isolated("escape").exit_code == 1

    def test_as_json(self) -> None:
        report = json.loads(as_json(isolated()))
        assert report["counts"]["escapes"] == 2
        (escape,) = report["escapes"]
        assert (escape["program"], escape["port"], escape["count"]) == ("psql", 5432, 2)
        assert report["nested"] == [{"program": "chromium", "count": 3}]
        assert report["asked"][0] == {
            "host": "api.test",
            "port": 443,
            "programs": {"curl": 1, "node": 1},
            "requests": {"cassette": 1, "miss": 1},
            "relayed": 0,
        }

    @pytest.mark.parametrize(("fail_on", "tag"), [((), "skipped"), (("escape",), "failure")])
    def test_as_junit(self, fail_on: tuple[str, ...], tag: str) -> None:
        root = ET.fromstring(as_junit(isolated(*fail_on)))
        (case,) = root.findall(".//testcase[@classname='buffr run: escape']")
        assert case.get("name") == "psql tcp [2001:db8::5]:5432"
        assert case.find(tag) is not None

    def test_nothing_asked_for(self) -> None:
        run = evolve(outcome(), ledger=Ledger())
        assert summary(run, PLAIN) == "buffr: the command connected to nothing\n"

"""Recordings on a server: several processes, replaced sets, large bodies, what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve
from recordings import exchange_of, key, key_of, recording
from redis_processes import Process
from redis_servers import RedisServer

from buffr.errors import StoreFailed, StoreUnreachable
from buffr.stores.redis.address import RedisAddress
from buffr.stores.redis.client import Patience

SOON = Patience(0.3, 0.2)
ALWAYS_ASK = Patience(5.0, 0.0)


@pytest.fixture
def address(redis_server: RedisServer, tmp_path: Path) -> RedisAddress:
    return evolve(redis_server.address, prefix=tmp_path.name)


@pytest.fixture
def own_server(tmp_path: Path) -> RedisServer:
    """A server that the test may kill. The path of its socket must be short."""
    return RedisServer(tmp_path / "r")


class TestProcesses:
    @pytest.mark.parametrize("patience", [Patience(5.0, 60.0), ALWAYS_ASK])
    def test_what_one_records_the_others_replay_in_order(
        self, address: RedisAddress, patience: Patience
    ) -> None:
        with (
            Process(address, patience=patience) as one,
            Process(address, patience=patience) as other,
        ):
            assert other.bodies() == []
            one.append(body=b"0")
            other.append(body=b"1")
            one.append(body=b"2")
            wait_until(other, lambda: other.bodies() == [b"0", b"1", b"2"])
            wait_until(one, lambda: one.bodies() == [b"0", b"1", b"2"])

    def test_what_was_there_before_is_indexed(self, address: RedisAddress) -> None:
        with Process(address) as one:
            for number in range(450):
                one.append(b"/%d" % (number % 225), b"%d" % number)
        with Process(address, access="replay") as later:
            assert later.bodies(b"/224") == [b"224", b"449"]
            assert len(later.turns.run(later.view.places())) == 450
            with pytest.raises(StoreFailed, match="open for replay only"):
                later.append()

    def test_a_view_that_comes_later_has_all(self, address: RedisAddress) -> None:
        with Process(address) as one:
            one.append()
            later = one.interactions.view(key_of)
            found = one.turns.run(later.find([key(b"/a")]))
            assert found is not None
            assert list(found.places) == [0]

    def test_a_set_is_recorded_anew_once(self, address: RedisAddress) -> None:
        """However many processes do so: what the first of them recorded is not set aside."""
        with Process(address) as before:
            before.append(body=b"old")
            salt = before.interactions.salt
            with Process(address, access="anew") as one, Process(address, access="anew") as two:
                one.append(body=b"1")
                two.append(body=b"2")
                assert any("the old set is api.bak" in line for line in one.lines)
            wait_until(before, lambda: before.bodies() == [b"1", b"2"])
            assert before.interactions.salt == salt
        with Process(address, name="api.bak", access="replay") as aside:
            assert aside.bodies() == [b"old"]

    def test_a_body_in_parts_is_one(self, address: RedisAddress) -> None:
        body = bytes(range(256)) * 20_000
        with Process(address) as one:
            one.append(body=body)
        with Process(address) as later:
            assert later.bodies() == [body]

    def test_an_append_that_was_acknowledged_is_not_done_twice(self, address: RedisAddress) -> None:
        with Process(address) as one:
            made = one.interactions._made(recording(b"/a"), one.interactions.salt, "t")
            for _ in range(2):
                one.turns.run(one.interactions.store_spooled(made, one.interactions.salt))
            assert len(one.bodies()) == 1

    def test_a_set_that_was_deleted_begins_anew_for_all(self, own_server: RedisServer) -> None:
        """With one salt, whoever records first."""
        with Process(own_server.address) as one, Process(own_server.address) as other:
            one.append(body=b"old")
            wait_until(other, lambda: other.bodies() == [b"old"])
            own_server.ask("FLUSHALL")
            wait_until(one, lambda: one.bodies() == [])
            one.interactions.salt = b"1" * 32
            one.append(body=b"1")
            other.append(body=b"2")
            wait_until(one, lambda: one.bodies() == [b"1", b"2"])
            wait_until(other, lambda: other.bodies() == [b"1", b"2"])
            assert one.interactions.salt == other.interactions.salt == b"1" * 32
        own_server.kill()


class TestOutages:
    def test_appends_are_spooled_and_stored_when_the_server_is_back(
        self, own_server: RedisServer, tmp_path: Path
    ) -> None:
        spool = tmp_path / "spool"
        with Process(own_server.address, patience=SOON, spool_dir=spool) as one:
            one.append(body=b"0")
            own_server.kill()
            for number in (1, 2):
                one.append(body=b"%d" % number)
            assert len(list(spool.glob("*.recording"))) == 2
            own_server.start()
            one.client.patience = evolve(SOON, reply_s=5.0)
            wait_until(one, lambda: not list(spool.glob("*.recording")))
            assert one.bodies() == [b"0", b"1", b"2"]
            lost, back, stored = one.lines
            assert "cannot be used: " in lost
            assert "is back after" in back
            assert "has the 2 recordings of the outage" in stored
        own_server.kill()

    def test_what_is_spooled_outlives_the_process(
        self, own_server: RedisServer, tmp_path: Path
    ) -> None:
        spool = tmp_path / "spool"
        with Process(own_server.address, patience=SOON, spool_dir=spool) as one:
            own_server.kill()
            one.append()
        own_server.start()
        with Process(own_server.address, spool_dir=spool) as later:
            later.client.start()
            wait_until(later, lambda: later.bodies() == [b"answer"])
        own_server.kill()

    @pytest.mark.parametrize("known", [True, False])
    def test_a_server_that_lost_all_gets_the_salt_of_what_is_spooled(
        self, own_server: RedisServer, tmp_path: Path, *, known: bool
    ) -> None:
        """Whether the set is open when it is stored there, or only its spool is known."""
        spool = tmp_path / "spool"
        with Process(own_server.address, patience=SOON, spool_dir=spool) as one:
            salt = one.interactions.salt
            own_server.ask("FLUSHALL")
            own_server.kill()
            one.append()
            if not known:
                one.server._sets.clear()
            own_server.start()
            one.client.patience = evolve(SOON, reply_s=5.0)
            wait_until(one, lambda: not list(spool.glob("*.recording")))
            keys = one.interactions._keys
            assert own_server.ask("HGET", keys.head, "salt") == salt
        own_server.kill()

    def test_a_full_spool_is_a_loss(self, own_server: RedisServer, tmp_path: Path) -> None:
        own = Process(
            own_server.address, patience=SOON, spool_dir=tmp_path / "spool", spool_bytes=10
        )
        with own as one:
            own_server.kill()
            with pytest.raises(StoreFailed, match=r"GET /a was not recorded: .*the spool is full"):
                one.append()

    def test_without_the_server_a_route_does_as_it_is_told(self, own_server: RedisServer) -> None:
        with (
            Process(own_server.address, patience=SOON, on_error="refuse") as refusing,
            Process(own_server.address, patience=SOON, on_error="upstream") as fetching,
            Process(own_server.address, patience=SOON, on_error="local") as local,
        ):
            everyone = (refusing, fetching, local)
            for each in everyone:
                each.append(b"/%d" % everyone.index(each))
                assert each.bodies(b"/%d" % everyone.index(each)) == [b"answer"]
            own_server.stop_answering()
            wait_until(local, lambda: not any(each.client.is_fresh for each in everyone))
            with pytest.raises(StoreUnreachable):
                refusing.bodies(b"/0")
            assert fetching.bodies(b"/1") == []
            assert local.bodies(b"/2") == [b"answer"]
            assert local.bodies(b"/0") == [], "which it has no copy of"
            own_server.answer_again()
            for each in everyone:
                wait_until(each, lambda each=each: each.client.is_up)  # type: ignore[misc]
                wait_until(each, lambda each=each: each.bodies(b"/1") == [b"answer"])  # type: ignore[misc]
        own_server.kill()

    def test_a_full_server_is_an_outage_for_recordings_only(
        self, own_server: RedisServer, tmp_path: Path
    ) -> None:
        with Process(own_server.address, spool_dir=tmp_path / "spool") as one:
            one.append()
            own_server.ask("CONFIG", "SET", "maxmemory", "1")
            one.append(b"/b")
            assert one.bodies() == [b"answer"]
            assert one.bodies(b"/b") == []
            own_server.ask("CONFIG", "SET", "maxmemory", "0")
            one.server._drain()
            wait_until(one, lambda: one.bodies(b"/b") == [b"answer"])
        own_server.kill()

    def test_a_server_that_is_not_there_refuses_the_start(self, tmp_path: Path) -> None:
        nowhere = RedisAddress.parse(f"redis+unix://{tmp_path}/none.sock")
        with pytest.raises(StoreFailed, match=r"none.sock cannot be used: No such file") as error:
            Process(nowhere)
        assert "--allow-unrecorded" in str(error.value)

    def test_a_start_without_the_server_is_possible(self, tmp_path: Path) -> None:
        nowhere = RedisAddress.parse(f"redis+unix://{tmp_path}/none.sock")
        with Process(nowhere, may_start_down=True, on_error="upstream") as one:
            assert one.bodies() == []


class TestDamage:
    def test_a_damaged_recording_is_left_out(self, address: RedisAddress) -> None:
        with Process(address) as one:
            one.append(body=b"0")
            elements = one.interactions._keys.elements(one.interactions._head.id)
            one.turns.run(one.client.ask("HSET", elements, 0, b"junk"))
            one.append(body=b"1")
        with Process(address) as later:
            assert later.bodies() == [b"1"]
            found = later.turns.run(later.view.find([key(b"/a")]))
            assert found is not None
            loaded = later.turns.run(later.view.load(found.places[0]))
            assert exchange_of(loaded).body.data == b"1"


def wait_until(process: Process, is_so: Callable[[], bool]) -> None:
    for _ in range(2000):
        if is_so():
            return
        process.turns.step()
    raise AssertionError("it did not happen")

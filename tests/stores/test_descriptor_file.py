"""What declares the messages of a cassette, kept beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from protos import descriptor_set, descriptors

from buffr.formats.protobuf.bodies import MessageTypes
from buffr.formats.protobuf.descriptors import files_in
from buffr.interaction import HTTPInteraction, RecordedRequest
from buffr.message import ResponseHead
from buffr.stores.cassette.descriptor_file import DescriptorFile, descriptors_beside

GRPC = ((b"content-type", b"application/grpc"),)


def call(target: bytes) -> HTTPInteraction:
    return HTTPInteraction(RecordedRequest(b"POST", target, GRPC), ResponseHead(200, b"", ()))


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    return descriptors_beside(tmp_path / "greeter.json")


def opened(beside: Path, *types: MessageTypes) -> tuple[DescriptorFile, list[str]]:
    said: list[str] = []
    known = types[0] if types else MessageTypes()
    return DescriptorFile.beside(beside.with_name("greeter.json"), known, said.append), said


def test_its_name(beside: Path) -> None:
    assert beside.name == "greeter.descriptors.pb"
    assert descriptors_beside(Path("a.b")).name == "a.b.descriptors.pb"


def test_it_has_the_services_that_were_recorded(beside: Path) -> None:
    file, said = opened(beside, MessageTypes((descriptors(),)))
    assert not beside.exists()
    file.keep(call(b"/no.such/Method"))
    assert not beside.exists()
    file.keep(call(b"/shop.legacy.Legacy/Put"))
    assert [one.name for one in files_in(beside.read_bytes())] == ["legacy.proto"]
    file.keep(call(b"/shop.v1.Shop/Order"))
    assert {one.name for one in files_in(beside.read_bytes())} > {"legacy.proto", "shop.proto"}
    assert said == []
    assert [one.name for one in beside.parent.iterdir()] == [beside.name]


def test_it_is_read_again(beside: Path) -> None:
    opened(beside, MessageTypes((descriptors(),)))[0].keep(call(b"/shop.v1.Shop/Order"))
    file, said = opened(beside)
    assert file.types.method(b"/shop.v1.Shop/Order") is not None
    assert file.types.method(b"/shop.legacy.Legacy/Put") is None
    before = beside.stat()
    file.keep(call(b"/shop.v1.Shop/Order"))
    assert beside.stat().st_ino == before.st_ino
    assert said == []


def test_a_damaged_one_is_warned_of_and_replaced(beside: Path) -> None:
    beside.write_bytes(descriptor_set("shop")[:100])
    file, said = opened(beside, MessageTypes((descriptors(),)))
    (line,) = said
    assert line.startswith(f"{beside}: cannot be read: is not a FileDescriptorSet")
    file.keep(call(b"/shop.v1.Shop/Order"))
    assert "shop.proto" in {one.name for one in files_in(beside.read_bytes())}


def test_where_it_cannot_be_written_it_is_said(tmp_path: Path) -> None:
    nowhere = tmp_path / "none" / "greeter.json"
    said: list[str] = []
    file = DescriptorFile.beside(nowhere, MessageTypes((descriptors(),)), said.append)
    file.keep(call(b"/shop.v1.Shop/Order"))
    file.keep(call(b"/shop.v1.Shop/Watch"))
    (line,) = said
    assert line.endswith("greeter.descriptors.pb: cannot be written: No such file or directory")

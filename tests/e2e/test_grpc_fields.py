"""gRPC whose messages' types are declared: recorded and replayed by what the messages mean."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest
from admin_client import Admin
from attrs import define, field
from commands import complaint, run
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import (
    FileDescriptorResponse,
    ServerReflectionRequest,
    ServerReflectionResponse,
)
from protos import PROTOS, descriptor_set, made, pool
from test_grpc import channel_to

from buffr.stores.cassette.snapshot import read_snapshot
from buffr.testing import BuffrProcess

_LIMIT_S = 60


@define
class Shop(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no annotations
    """Answers orders. ``asked`` counts them."""

    asked: int = 0
    token: str = "tok_4f9aQ2xLr8Zw1Ny7Vb3Kc6Td"

    def service(self, details: Any) -> Any:
        name = details.method.removeprefix("/shop.v1.Shop/")
        kinds = {
            "Order": (grpc.unary_unary_rpc_method_handler, self._order),
            "Watch": (grpc.unary_stream_rpc_method_handler, self._watch),
            "Collect": (grpc.stream_unary_rpc_method_handler, self._collect),
        }
        if name not in kinds:
            return None
        make, method = kinds[name]
        return make(
            method,
            request_deserializer=made("OrderRequest").FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _order(self, order: Any, _: Any) -> Any:
        self.asked += 1
        return made("OrderReply", order_id=str(self.asked), access_token=self.token)

    def _watch(self, order: Any, context: Any) -> Iterator[Any]:
        for _ in range(3):
            yield self._order(order, context)

    def _collect(self, orders: Iterator[Any], context: Any) -> Any:
        return self._order(list(orders), context)


@contextmanager
def shop_server(reflect: Callable[[Any], None] | None = None) -> Iterator[tuple[Shop, int]]:
    server, shop = grpc.server(ThreadPoolExecutor(4)), Shop()
    server.add_generic_rpc_handlers((shop,))
    if reflect is not None:
        reflect(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield shop, port
    finally:
        server.stop(None)


def order(channel: Any, message: bytes) -> Any:
    """The answer to an order, whose bytes the caller chooses."""
    method = channel.unary_unary(
        "/shop.v1.Shop/Order", response_deserializer=made("OrderReply").FromString
    )
    return method(message, timeout=_LIMIT_S)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "api.pb").write_bytes(descriptor_set("shop"))
    return tmp_path


@contextmanager
def auto(place: Path, port: int) -> Iterator[Any]:
    target = f"http://127.0.0.1:{port}"
    options = ("--cassette", "c.json", "--port", "0", "--grpc-descriptors", "api.pb")
    with (
        BuffrProcess.run("auto", "--target", target, *options, cwd=place) as running,
        channel_to(running.ports[0]) as channel,
    ):
        yield channel


@contextmanager
def replaying(place: Path) -> Iterator[Any]:
    """Without the descriptors: those of what was recorded are beside the cassette."""
    options = ("--cassette", "c.json", "--port", "0")
    with (
        BuffrProcess.run("replay", *options, cwd=place) as running,
        channel_to(running.ports[0]) as channel,
    ):
        yield channel


class TestMatching:
    def test_another_spelling_of_a_message_is_the_same_request(self, place: Path) -> None:
        message = made("OrderRequest", quantities=[1, 2], items=["a"]).SerializeToString()
        another = b"\x1a\x01a\x10\x01\x10\x02\xba\x01\x00"
        assert message not in (another, b"")
        with shop_server() as (shop, port):
            with auto(place, port) as channel:
                first = order(channel, message)
                assert order(channel, another).order_id == first.order_id
            assert shop.asked == 1
        with replaying(place) as channel:
            assert order(channel, another).order_id == first.order_id

    def test_a_miss_names_the_field(self, place: Path) -> None:
        with shop_server() as (_, port), auto(place, port) as channel:
            order(channel, made("OrderRequest", user={"name": "a"}).SerializeToString())
        with replaying(place) as channel, pytest.raises(grpc.RpcError) as raised:
            order(channel, made("OrderRequest", user={"name": "b"}).SerializeToString())
        assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "body /user/name: recorded '\"a\"', live '\"b\"'" in raised.value.details()


class TestRedaction:
    def test_no_credential_of_a_message_is_in_the_cassette(self, place: Path) -> None:
        """Its program can still read the message, and another password is the same request."""
        fields = made("OrderRequest", user={"name": "bob", "password": "hunter2 and more"})
        other = made("OrderRequest", user={"name": "bob", "password": "a dummy"})
        with shop_server() as (shop, port):
            with auto(place, port) as channel:
                live = order(channel, fields.SerializeToString())
                assert order(channel, other.SerializeToString()).order_id == live.order_id
            assert shop.asked == 1
            assert live.access_token == shop.token
        request = read_snapshot(place / "c.json", print).interaction(0).request.body.data
        found = made("OrderRequest").FromString(request[5:])
        assert found == made("OrderRequest", user={"name": "bob", "password": "REDACTED-password"})
        assert int.from_bytes(request[1:5], "big") == len(request) - 5
        with replaying(place) as channel:
            replayed = order(channel, other.SerializeToString())
        assert replayed.order_id == live.order_id
        assert replayed.access_token.startswith("REDACTED-access-token-")


class TestReading:
    @pytest.fixture
    def recorded(self, place: Path) -> Path:
        with shop_server() as (_, port), auto(place, port) as channel:
            order(channel, made("OrderRequest", user={"name": "bob"}).SerializeToString())
            watch = channel.unary_stream("/shop.v1.Shop/Watch")
            list(watch(made("OrderRequest", items=["x"]).SerializeToString(), timeout=_LIMIT_S))
        (place / "api.pb").unlink()
        return place

    def shown(self, *arguments: str, place: Path) -> str:
        done = run("cassette", *arguments, cwd=place)
        assert "Traceback" not in done.stderr
        return done.stdout

    def test_show(self, recorded: Path) -> None:
        text = self.shown("show", "c.json", "0", place=recorded)
        assert '(shop.v1.OrderRequest)\n{\n  "user": {\n    "name": "bob"\n  }\n}\n' in text
        assert '(shop.v1.OrderReply)\n{\n  "order_id": "1",\n  "access_token": "REDACTED' in text
        text = self.shown("show", "c.json", "1", place=recorded)
        assert '(shop.v1.OrderReply)\n[\n  {\n    "order_id": "2"' in text

    def test_show_without_descriptors(self, recorded: Path) -> None:
        (recorded / "c.descriptors.pb").rename(recorded / "moved.pb")
        text = self.shown("show", "c.json", "0", place=recorded)
        assert "(protobuf without descriptors: fields by their numbers)" in text
        assert '"1": [\n        "bob"' in text
        given = self.shown("show", "c.json", "0", "--descriptors", "moved.pb", place=recorded)
        assert '"name": "bob"' in given

    def test_redact(self, recorded: Path) -> None:
        """What a version without descriptors has recorded."""
        cassette = recorded / "c.json"
        cassette.write_text(cassette.read_text().replace("REDACTED-access-token-", "t" * 22))
        assert "2 interactions changed" in self.shown("redact", "c.json", place=recorded)
        assert '"access_token": "REDACTED' in self.shown("show", "c.json", "0", place=recorded)

    def test_ls(self, recorded: Path) -> None:
        assert '{"user":{"name":"bob"}}' in self.shown("ls", "c.json", place=recorded)

    def test_diff(self, recorded: Path) -> None:
        for end in ("json", "descriptors.pb"):
            (recorded / f"old.{end}").write_bytes((recorded / f"c.{end}").read_bytes())
        with shop_server() as (shop, port):
            shop.asked = 9
            (recorded / "api.pb").write_bytes(descriptor_set("shop"))
            (recorded / "c.json").unlink()
            with auto(recorded, port) as channel:
                order(channel, b"\xba\x01\x00\x0a\x05\x0a\x03bob")
        text = self.shown("diff", "old.json", "c.json", place=recorded)
        assert "body /order_id: '\"1\"' -> '\"10\"'" in text


def by_grpcio(server: Any) -> None:
    """As grpcio-reflection does it: version v1alpha, each file with all that it needs."""
    names = ("shop.v1.Shop", reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server, pool=pool())


@define
class OneByOne(grpc.GenericRpcHandler):  # type: ignore[misc]  # as above
    """Reflection in version v1, by a server that sends no file that it was not asked for."""

    asked: list[str] = field(factory=list)
    metadata: list[Any] = field(factory=list)

    def service(self, details: Any) -> Any:
        if details.method != "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":
            return None
        self.metadata.append(details.invocation_metadata)
        return grpc.stream_stream_rpc_method_handler(
            self._answer,
            request_deserializer=ServerReflectionRequest.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _answer(self, requests: Iterator[Any], _: Any) -> Iterator[Any]:
        for one in requests:
            name = one.file_by_filename or "shop.proto"
            self.asked.append(one.file_by_filename or one.file_containing_symbol)
            data = pool().FindFileByName(name).serialized_pb
            files = FileDescriptorResponse(file_descriptor_proto=[data])
            yield ServerReflectionResponse(file_descriptor_response=files)


@contextmanager
def asking(
    place: Path, port: int, *options: str, env: Mapping[str, str] | None = None
) -> Iterator[tuple[Any, BuffrProcess]]:
    """Mode auto."""
    target = f"http://127.0.0.1:{port}"
    options = ("--target", target, "--cassette", "c.json", "--port", "0", *options)
    with (
        BuffrProcess.run("auto", *options, cwd=place, env=env) as running,
        channel_to(running.ports[0]) as channel,
    ):
        yield channel, running


class TestReflection:
    MESSAGE = b"\x1a\x01a\x10\x01"
    ANOTHER = b"\x10\x01\x1a\x01a"

    def test_the_first_call_is_known_already(self, tmp_path: Path) -> None:
        with shop_server(by_grpcio) as (shop, port):
            with asking(tmp_path, port) as (channel, _):
                first = order(channel, self.MESSAGE)
                assert order(channel, self.ANOTHER).order_id == first.order_id
            assert shop.asked == 1
        with replaying(tmp_path) as channel:
            assert order(channel, self.ANOTHER).order_id == first.order_id
        text = (tmp_path / "c.json").read_text()
        assert shop.token not in text
        assert "REDACTED-access-token" in text

    def test_files_that_come_one_by_one(self, tmp_path: Path) -> None:
        """Asked once for the service, with the metadata of the call."""
        server = OneByOne()
        with (
            shop_server(lambda one: one.add_generic_rpc_handlers((server,))) as (_, port),
            asking(tmp_path, port) as (channel, running),
        ):
            metadata = (("authorization", "Bearer t"), ("x-tenant", "a"))
            call = channel.unary_unary("/shop.v1.Shop/Order")
            call(self.MESSAGE, timeout=_LIMIT_S, metadata=metadata)
            call(b"\x1a\x01b", timeout=_LIMIT_S)
            running.wait_for("messages are known by reflection")
        assert server.asked[0] == "shop.v1.Shop"
        assert "google/protobuf/any.proto" in server.asked
        assert len(server.asked) == len(set(server.asked))
        assert {("authorization", "Bearer t"), ("x-tenant", "a")} <= set(server.metadata[0])

    def test_a_server_without_it(self, tmp_path: Path) -> None:
        with shop_server() as (_, port), asking(tmp_path, port) as (channel, running):
            assert order(channel, self.MESSAGE).order_id == "1"
            assert order(channel, self.MESSAGE).order_id == "1"
            line = running.wait_for("messages are not known by reflection.*")[0]
            assert "the upstream has no server reflection" in line
            assert running.log().count("by reflection") == 1
        assert not (tmp_path / "c.descriptors.pb").exists()

    def test_a_server_that_says_nothing(self, tmp_path: Path) -> None:
        over = Event()

        def never(_: Any, __: Any) -> Iterator[bytes]:
            over.wait(_LIMIT_S)
            return iter(())

        handler = grpc.method_handlers_generic_handler(
            "grpc.reflection.v1.ServerReflection",
            {"ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(never)},
        )
        with shop_server(lambda one: one.add_generic_rpc_handlers((handler,))) as (_, port):
            (tmp_path / "buffr.yaml").write_text(
                f"reverse: [{{target: 'http://127.0.0.1:{port}', port: 0, cassette: c.json,"
                " grpc: {reflection: 0.2s}}]\n"
            )
            with (
                BuffrProcess.run("serve", "--config", "buffr.yaml", cwd=tmp_path) as running,
                channel_to(running.ports[0]) as channel,
            ):
                assert order(channel, self.MESSAGE).order_id == "1"
                line = running.wait_for("messages are not known by reflection.*")[0]
                assert "the upstream has not answered in 0.2 s" in line
            over.set()

    def test_recordings_from_before_still_answer(self, tmp_path: Path) -> None:
        """They are filed by their bytes until the next start."""
        with shop_server() as (shop, port), asking(tmp_path, port) as (channel, _):
            order(channel, self.MESSAGE)
        with shop_server(by_grpcio) as (shop, port), asking(tmp_path, port) as (channel, _):
            order(channel, b"\x1a\x01b")
            assert shop.asked == 1
            order(channel, self.MESSAGE)
            assert shop.asked == 1


class TestAdmin:
    def test_messages_are_shown_by_field(self, place: Path) -> None:
        """Of recordings and of exchanges, without what is hidden in either."""
        environment = {"BUFFR_ADMIN": "0"}
        with (
            shop_server() as (shop, port),
            asking(place, port, "--grpc-descriptors", "api.pb", env=environment) as (
                channel,
                running,
            ),
        ):
            fields = made("OrderRequest", user={"name": "bob", "password": "hunter2"})
            order(channel, fields.SerializeToString())
            admin = Admin.of(running, place)
            sides = [
                admin.get(f"/api/{what}/{admin.get(f'/api/{what}')['items'][0]['id']}")
                for what in ("interactions", "exchanges")
            ]
        for one in sides:
            messages = one["request"]["body"]["messages"]
            assert messages["type"] == "shop.v1.OrderRequest"
            wanted = {"user": {"name": "bob", "password": "REDACTED-password"}}
            assert json.loads(messages["text"]) == wanted
            answer = one["response"]["body"]["messages"]
            assert answer["type"] == "shop.v1.OrderReply"
            assert shop.token not in json.dumps(one)
            assert "hunter2" not in b64decode(one["request"]["body"]["data"]).decode("latin-1")


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("shop.proto", "is a .proto file, not a compiled one"),
            ("none.pb", "No such file or directory"),
            ("junk.pb", "is not a FileDescriptorSet"),
        ],
    )
    def test_what_is_no_descriptor_set(self, place: Path, name: str, why: str) -> None:
        (place / "shop.proto").write_bytes((PROTOS / "shop.proto").read_bytes())
        (place / "junk.pb").write_bytes(b"\xff\xff\xff")
        options = ("--port", "0", "--grpc-descriptors", name)
        said = complaint("replay", "--cassette", "c.json", *options, cwd=place)
        assert f"grpc.descriptors: {name}: {why}" in "\n".join(said)

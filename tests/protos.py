"""The ``.proto`` files in ``tests/data/protos``, compiled."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc_tools
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClassesForFiles
from grpc_tools import protoc

from buffr.formats.protobuf.descriptors import Descriptors, files_in

PROTOS = Path(__file__).parent / "data" / "protos"
_WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"


@cache
def descriptor_set(*names: str, imports: bool = True) -> bytes:
    """What protoc makes of some files, by their names without the suffix."""
    with TemporaryDirectory() as directory:
        out = Path(directory) / "api.pb"
        options = [f"-I{PROTOS}", f"-I{_WELL_KNOWN}", *(["--include_imports"] if imports else [])]
        files = [f"{name}.proto" for name in names]
        assert protoc.main(["protoc", f"--descriptor_set_out={out}", *options, *files]) == 0
        return out.read_bytes()


@cache
def descriptors() -> Descriptors:
    """Those of ``shop.proto`` and ``legacy.proto``."""
    return Descriptors.of(files_in(descriptor_set("shop", "legacy")))


@cache
def pool() -> DescriptorPool:
    """The library's pool of both files."""
    made = DescriptorPool()
    for one in files_in(descriptor_set("shop", "legacy")):
        made.Add(one)
    return made


@cache
def _classes() -> dict[str, type[Message]]:
    return GetMessageClassesForFiles(["shop.proto", "legacy.proto"], pool())


def made(name: str, /, **fields: Any) -> Any:
    """A message of ``shop.proto``, by the library's own class of its type."""
    return _classes()[f"shop.v1.{name}"](**fields)


def made_legacy(**fields: Any) -> Any:
    """An ``Ask`` of ``legacy.proto``."""
    return _classes()["shop.legacy.Ask"](**fields)

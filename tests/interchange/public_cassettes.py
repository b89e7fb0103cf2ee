"""Imports cassettes of VCR.py below some directories, and replays all of them to a client.

    python tests/interchange/public_cassettes.py DIRECTORY ...

For the cassettes of large public projects, none of which are in this repository
(``make public-cassettes DIR=...``). Each request is sent as VCR.py recorded it; the
status and the decoded body must be the recorded ones, but for what redaction
replaced. Prints a line for each difference, and the totals.
"""

from __future__ import annotations

import http.client
import json
import re
import sys
import tempfile
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from buffr.errors import BuffrError
from buffr.formats.codings import decoded
from buffr.interchange.formats import Format, format_of
from buffr.interchange.importing import Importing
from buffr.interchange.source import Source
from buffr.redaction.rules import RedactionRules
from buffr.testing import BuffrProcess

_AT_ONCE = 60
_STAND_IN = re.compile(rb"REDACTED[A-Za-z0-9_.~-]*")
_NOT_SENT_ON = frozenset(
    ("host", "content-length", "connection", "transfer-encoding", "accept-encoding")
)
_LIMIT_BYTES = 1 << 28
_REDACTED = "redacted"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def cassettes(directories: Sequence[Path]) -> Iterator[Path]:
    """The files that VCR.py wrote."""
    for directory in directories:
        for path in sorted(directory.rglob("*")):
            if path.is_file() and path.suffix in (".yaml", ".yml", ".json"):
                with suppress(BuffrError):
                    if format_of(Source(path)) is Format.VCR:
                        yield path


def recorded(path: Path) -> list[dict[str, Any]]:
    """The entries of a cassette, as VCR.py reads them."""
    document = yaml.load(path.read_bytes(), Loader=_Loader)  # a safe one
    entries: list[dict[str, Any]] = document["interactions"]
    return entries


class _Loader(yaml.CSafeLoader):
    """With the tags that Python 2 wrote."""


def _plain(loader: yaml.CSafeLoader, node: Any) -> Any:
    is_list = isinstance(node, yaml.SequenceNode)
    return loader.construct_sequence(node) if is_list else loader.construct_scalar(node)


for _tag in ("unicode", "str", "tuple"):
    _Loader.add_constructor(f"tag:yaml.org,2002:python/{_tag}", _plain)


def body_of(told: Any) -> bytes:
    """A body of an entry: text, bytes, or a mapping with one of several members."""
    if isinstance(told, dict):
        if "base64_string" in told:
            return b64decode(told["base64_string"])
        return body_of(told.get("string"))
    if told is None:
        return b""
    return told if isinstance(told, bytes) else str(told).encode()


def spelled(message: dict[str, Any], *names: str) -> bytes:
    """The body of a request or an answer; one that a serializer has parsed is JSON again."""
    if "parsed_body" in message:
        return json.dumps(message["parsed_body"]).encode()
    return next((body_of(message[name]) for name in names if name in message), b"")


def headers_of(told: Any) -> list[tuple[str, str]]:
    found = []
    for name, values in told.items() if isinstance(told, dict) else told or ():
        for value in values if isinstance(values, list) else [values]:
            text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
            found.append((name, text))
    return found


def plain(body: bytes, headers: list[tuple[str, str]]) -> bytes:
    """The body without its codings, if it still has them: VCR.py can store it decoded."""
    codings = ",".join(value for name, value in headers if name.lower() == "content-encoding")
    found = decoded(codings.encode(), body, limit_bytes=_LIMIT_BYTES) if codings else body
    return body if found is None else found


def asked(port: int, request: dict[str, Any]) -> tuple[int, bytes]:
    """Send a recorded request. Returns the status and the decoded body."""
    url = urlsplit(request["uri"])
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = spelled(request, "body")
    # aiohttp's stub has written the method as the program spelled it.
    connection.putrequest(request["method"].upper(), target, skip_accept_encoding=True)
    for name, value in headers_of(request.get("headers")):
        if name.lower() not in _NOT_SENT_ON:
            connection.putheader(name, value.encode("latin-1", "replace"))
    connection.putheader("Accept-Encoding", "gzip, deflate, br, zstd")
    if body or request["method"] not in ("GET", "HEAD", "DELETE", "OPTIONS"):
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body or None)
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    return answer.status, plain(told, answer.getheaders())


def differs(entry: dict[str, Any], status: int, body: bytes) -> str | None:
    """How an answer differs from the recorded one; ``redacted`` if by redaction alone."""
    response = entry["response"]
    code = response["status"]["code"] if "status" in response else response["status_code"]
    if status != code:
        return f"status {status}, not {code}: {body[:200]!r}"
    expected = plain(spelled(response, "body", "content"), headers_of(response.get("headers")))
    if "parsed_body" in response:
        body, expected = _canonical(body), _canonical(expected)
    if body == expected:
        return None
    parts = [re.escape(part) for part in _STAND_IN.split(body)]
    if len(parts) > 1 and re.fullmatch(rb"[^\"]*?".join(parts), expected, re.DOTALL):
        return _REDACTED
    return f"body {body[:120]!r}, not {expected[:120]!r}"


def _canonical(body: bytes) -> bytes:
    try:
        return json.dumps(json.loads(body), sort_keys=True).encode()
    except ValueError:
        return body


def replayed(paths: Sequence[Path], place: Path) -> Counter[str]:
    """Import some cassettes and replay them; each has a port of its own."""
    found: Counter[str] = Counter()
    kept: list[Path] = []
    for number, path in enumerate(paths):
        try:
            cassette = place / f"{number}.json"
            (report,) = Importing(RedactionRules(), lambda _: None).run([path], cassette)
        except BuffrError as error:
            found["files not imported"] += 1
            say(f"{path}: {error}")
            continue
        found["files imported"] += 1
        found["interactions imported"] += report.imported
        for index, why in report.refused:
            found["interactions not imported"] += 1
            say(f"{path} {index}: {why}")
        kept.append(path)
    names = [number for number in range(len(paths)) if (place / f"{number}.json").exists()]
    rows = [
        {"mode": "replay", "port": 0, "cassette": str(place / f"{number}.json"), "match": "vcr"}
        for number in names
    ]
    settings = place / "buffr.yaml"
    settings.write_text(yaml.safe_dump({"reverse": rows}))
    with BuffrProcess.run("serve", "--config", str(settings), listeners=len(rows)) as process:
        for path, port in zip(kept, process.ports, strict=True):
            for index, entry in enumerate(recorded(path)):
                if not {"status", "status_code"} & entry["response"].keys():
                    continue  # cut off in the copy
                found["replayed"] += 1
                difference = differs(entry, *asked(port, entry["request"]))
                if difference in (None, _REDACTED):
                    found[difference or "the same"] += 1
                else:
                    found["others"] += 1
                    say(f"{path} {index}: {difference}")
    return found


def main(directories: Sequence[Path]) -> int:
    paths = list(cassettes(directories))
    total: Counter[str] = Counter()
    for start in range(0, len(paths), _AT_ONCE):
        with tempfile.TemporaryDirectory(prefix="buffr-public-") as place:
            total += replayed(paths[start : start + _AT_ONCE], Path(place))
    say(", ".join(f"{name}: {count}" for name, count in total.items()))
    return int(bool(total["others"] or total["files not imported"]))


if __name__ == "__main__":
    sys.exit(main([Path(each) for each in sys.argv[1:]]))

"""twisted.web's server with one answer: what Twisted offers without buffr.

Run as ``python -m benchmarks.site PORT ANSWER [CHUNKS]``: every request is
read whole and gets the answer, which is in CHUNKS equal chunks if that is
given.
"""

from __future__ import annotations

import sys

from twisted.internet import endpoints, task
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site


class Answering(Resource):
    isLeaf = True

    def __init__(self, answer: bytes, chunks: int) -> None:
        super().__init__()
        self._answer = answer
        self._chunks = chunks

    def render(self, request: Request) -> bytes | int:
        assert request.content is not None
        request.content.read()
        request.setHeader(b"content-type", b"application/json")
        if not self._chunks:
            return self._answer
        size = len(self._answer) // self._chunks
        for start in range(0, len(self._answer), size):
            request.write(self._answer[start : start + size])
        request.finish()
        return NOT_DONE_YET


def main(reactor: object) -> Deferred[None]:
    port, answer, *chunks = sys.argv[1:]
    site = Site(Answering(answer.encode(), int(chunks[0]) if chunks else 0))
    site.displayTracebacks = False
    endpoint = endpoints.serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1")
    endpoint.listen(site)
    return Deferred()


task.react(main)

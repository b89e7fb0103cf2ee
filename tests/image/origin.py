"""An origin on an address of the containers' network: ``python origin.py ADDRESS PEM LOG``.

Each answer is another one, so that a replay is told from an answer. LOG has
a line for each request.
"""

from __future__ import annotations

import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

_NUMBERS = count(1)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"answer %d to %b\n" % (next(_NUMBERS), self.path.encode())
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form: str, *values: object) -> None:
        with Path(sys.argv[3]).open("a") as log:
            log.write(f"{form % values}\n")


def main(address: str, pem: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with ThreadingHTTPServer((address, 443), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:3])

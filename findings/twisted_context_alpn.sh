#!/usr/bin/env bash
# Twisted's CertificateOptions(acceptableProtocols=...).getContext(): the context's clients offer
# these protocols by ALPN up to Twisted 25.5.0, and none from 26.4.0 on.
#
# Since 26.4.0 only connections that Twisted itself makes are given the list (for example by
# optionsForClientTLS). A program that makes its own pyOpenSSL connection from the context, to
# have its own verification or session, still has a context that looks the same, and silently
# falls back to HTTP/1.1, or is dropped by servers that speak HTTP/2 only, as gRPC's do. What
# works in both: Connection.set_alpn_protos.
#
# Seen: 25.5.0 offers ['h2', 'http/1.1']; 26.4.0 offers []; set_alpn_protos works in both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat > "$folder/offer.py" <<'PYTHON'
"""Print what the first message of a TLS client offers by ALPN (RFC 7301 3.1)."""
import sys

from OpenSSL import SSL
from twisted.internet.ssl import CertificateOptions

PROTOCOLS = [b"h2", b"http/1.1"]
context = CertificateOptions(acceptableProtocols=PROTOCOLS).getContext()
connection = SSL.Connection(context, None)
if sys.argv[1] == "connection":
    connection.set_alpn_protos(PROTOCOLS)
connection.set_connect_state()
try:
    connection.do_handshake()
except SSL.WantReadError:
    pass
hello = connection.bio_read(16384)
found = b"\x02h2\x08http/1.1" in hello
print([one.decode() for one in PROTOCOLS] if found else [])
PYTHON

check() { # VERSION WHOSE EXPECTED
  local seen
  seen=$("$folder/$1/bin/python" -W ignore "$folder/offer.py" "$2")
  echo "twisted $1, protocols of the $2: offers $seen"
  [ "$seen" = "$3" ] || { echo "expected $3: this has changed"; exit 1; }
}

for version in 25.5.0 26.4.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check \
    "twisted==$version" "pyopenssl==26.4.0" "service-identity==24.2.0" "idna==3.10"
  check "$version" connection "['h2', 'http/1.1']"
done
check 25.5.0 context "['h2', 'http/1.1']"
check 26.4.0 context "[]"

"""A server's connection is found by OpenSSL's callbacks, however it was made."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from handshakes import NOW, Handshake, new_authority, trusting
from OpenSSL import SSL

from buffr.tls.contexts import LeafContexts, ServerTLS

_CHANGED = """
import sys
from pathlib import Path
from OpenSSL import SSL
made = SSL.Connection.__init__
def otherwise(self, *args):
    made(self, *args)
    self._something_new = None
SSL.Connection.__init__ = otherwise
sys.path.insert(0, sys.argv[1])
from handshakes import NOW, Handshake, new_authority, trusting
from buffr.tls.contexts import LeafContexts, ServerTLS
authority = new_authority(Path(sys.argv[2]))
creator = ServerTLS(LeafContexts(authority, lambda: NOW), "by.connect")
shake = Handshake(creator, trusting(authority, offering=["http/1.1"]), "by.hello").finish()
print(hasattr(shake.connection(), "_something_new"), creator.name)
print(shake.client.selected_alpn_protocol(), shake.say(b"hello"))
"""


class TestAnotherPyOpenSSL:
    def test_makes_and_lists_its_connections_itself(self, tmp_path: Path) -> None:
        """Where a connection has more to it than is known here."""
        command = [sys.executable, "-c", _CHANGED, str(Path(__file__).parent), str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.split("\n")[:2] == ["True by.hello", "http/1.1 b'hello'"]


class TestTheList:
    @pytest.mark.parametrize("name", ["h.test", "..."])
    def test_is_as_it_was_after_a_handshake(self, name: str, tmp_path: Path) -> None:
        """Also after one that has failed."""
        authority = new_authority(tmp_path)
        listed = dict(SSL.Connection._reverse_mapping.data)  # type: ignore[attr-defined]
        creator = ServerTLS(LeafContexts(authority, lambda: NOW), "h.test")
        client = trusting(authority)
        client.check_hostname = False
        shake = Handshake(creator, client, "h.test")
        shake.first_flight = shake.first_flight.replace(b"h.test", name.encode().ljust(6, b"."))
        if name == "h.test":
            shake.finish()
        else:
            with pytest.raises(ssl.SSLError):
                shake.finish()
            assert creator.refusal is not None
        assert SSL.Connection._reverse_mapping.data == listed  # type: ignore[attr-defined]

"""TLS towards upstreams: what is shared among them, and what is not."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from attrs import define
from OpenSSL import SSL

from buffr.errors import ConfigError
from buffr.tls.trust import ClientContexts, Trust


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def written(authority: trustme.CA, path: Path) -> Path:
    authority.cert_pem.write_to_path(str(path))
    return path


def served(authority: trustme.CA, name: str) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    authority.issue_cert(name).configure_cert(context)
    return context


@define
class Told:
    """Takes the place of Twisted's TLS protocol, which is told why a verification failed."""

    why: str = ""

    def failVerification(self, failure: Any) -> None:
        self.why = failure.value.message


def refusal(contexts: ClientContexts, name: str, trust: Trust, server: SSL.Context) -> str:
    """Why a handshake with a server in memory fails; empty if it does not."""
    told: Any = Told()
    client = contexts.tls(name, trust).clientConnectionForTLS(told)
    client.set_connect_state()
    serving = SSL.Connection(server, None)
    serving.set_accept_state()
    for _ in range(4):
        for one, other in ((client, serving), (serving, client)):
            with suppress(SSL.WantReadError, SSL.Error):
                one.do_handshake()
            with suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(65536))
    return str(told.why)


class TestSharing:
    def test_upstreams_with_the_same_trust_have_one_context(
        self, authority: trustme.CA, tmp_path: Path
    ) -> None:
        """The system's roots are loaded once, and not for each host."""
        contexts, file = ClientContexts(), written(authority, tmp_path / "ca.pem")
        for trust in (Trust(), Trust(file), Trust(verify=False)):
            for number in range(100):
                contexts.tls(f"{number}.test", trust)
        assert contexts.made == 3

    def test_each_name_is_verified_for_itself(self, authority: trustme.CA, tmp_path: Path) -> None:
        contexts = ClientContexts()
        trust = Trust(written(authority, tmp_path / "ca.pem"))
        server = served(authority, "one.test")
        assert refusal(contexts, "one.test", trust, server) == ""
        assert "not for this host name" in refusal(contexts, "two.test", trust, server)
        assert refusal(contexts, "one.test", trust, server) == ""

    def test_trust_is_not_shared_with_who_has_another(
        self, authority: trustme.CA, tmp_path: Path
    ) -> None:
        contexts, server = ClientContexts(), served(authority, "one.test")
        trust = Trust(written(authority, tmp_path / "ca.pem"))
        assert refusal(contexts, "one.test", trust, server) == ""
        assert refusal(contexts, "two.test", Trust(verify=False), server) == ""
        assert "not trusted" in refusal(contexts, "one.test", Trust(), server)


class TestFiles:
    def test_a_replaced_file_holds_from_then_on(
        self, authority: trustme.CA, tmp_path: Path
    ) -> None:
        """For upstreams that are made afterwards: a renewed CA needs no restart."""
        contexts, file = ClientContexts(), tmp_path / "ca.pem"
        trust, server = Trust(written(trustme.CA(), file)), served(authority, "one.test")
        assert "not trusted" in refusal(contexts, "one.test", trust, server)
        file.unlink()
        written(authority, file)
        assert refusal(contexts, "one.test", trust, server) == ""
        assert contexts.made == 2

    def test_a_file_that_cannot_be_used_is_named(self, tmp_path: Path) -> None:
        file = tmp_path / "no.pem"
        for _ in range(2):
            with pytest.raises(ConfigError, match=r"no\.pem"):
                ClientContexts().tls("one.test", Trust(file))

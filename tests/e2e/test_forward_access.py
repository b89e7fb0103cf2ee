"""Who may use a proxy that others can reach, and what a user name is for."""

from __future__ import annotations

import base64
import itertools
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from attrs import frozen
from commands import complaint
from forward_bench import Fields, Proxy, basic, forward_proxy, named, secure_origin
from raw_http import request

from buffr.testing import FakeUpstream, Received, answer

KEY = "a-key-that-nobody-guesses"
EVERYWHERE = "0.0.0.0"


def field(value: str) -> Fields:
    return [(b"Proxy-Authorization", value.encode())]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


WRONG: dict[str, Fields] = {
    "none": (),
    "another key": [basic("me", "another")],
    "the key as user": [basic(KEY, "")],
    "a part of the key": [basic("me", KEY[:-1])],
    "another token": field("Bearer another"),
    "no token": field("Bearer"),
    "another scheme": field(f"Digest {KEY}"),
    "the bare key": field(KEY),
    "no base64": field(f"Basic {KEY}"),
    "no colon": field(f"Basic {encoded(KEY)}"),
    "for the origin": [(b"Authorization", f"Bearer {KEY}".encode())],
}

RIGHT: dict[str, Fields] = {
    "user and key": [basic("me", KEY)],
    "key alone": [basic("", KEY)],
    "token": field(f"Bearer {KEY}"),
    "token, in another case": field(f"bearer {KEY}"),
    "user and key, in another case": field(f"bAsIc {encoded(f'me:{KEY}')}"),
}


@frozen
class Keyed:
    """A proxy for everybody who has the key, and what stands behind it.

    ``origin`` is looked into, ``bypassed`` is not; each has a port with TLS
    and one without.
    """

    proxy: Proxy
    secure: FakeUpstream
    plain: FakeUpstream

    def urls(self) -> tuple[str, ...]:
        return tuple(
            f"{scheme}://{host}:{origin.port}/x"
            for host in ("localhost", "127.0.0.1")
            for scheme, origin in (("https", self.secure), ("http", self.plain))
        )

    @property
    def contacts(self) -> int:
        return self.secure.connections + self.plain.connections


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """``localhost`` is looked into, ``127.0.0.1`` bypassed."""
    with ExitStack() as stack:
        secure = stack.enter_context(secure_origin(named, "localhost", "127.0.0.1"))
        plain = stack.enter_context(FakeUpstream(named))
        proxy = stack.enter_context(
            forward_proxy(
                tmp_path_factory.mktemp("keyed"),
                {"hosts": [{"host": "localhost", "ca_file": "origins.pem"}], "bypass": "127.0.0.1"},
                env={"BUFFR_KEY": KEY},
                listen=EVERYWHERE,
            )
        )
        yield Keyed(proxy, secure, plain)


class TestTheStart:
    @pytest.mark.parametrize("address", [EVERYWHERE, "::"])
    def test_beyond_loopback_it_wants_a_key_or_an_allow_list(
        self, tmp_path: Path, address: str
    ) -> None:
        lines = complaint("proxy", "--listen", address, "--port", "0", cwd=tmp_path)
        assert any("BUFFR_KEY" in line and "BUFFR_ALLOW" in line for line in lines), lines
        assert not list(tmp_path.iterdir()), "nothing is made before"

    def test_an_empty_key_is_none(self, tmp_path: Path) -> None:
        """Compose files pass on variables that are not set as empty ones."""
        env = {"BUFFR_KEY": "", "BUFFR_ALLOW": ""}
        complaint("proxy", "--listen", EVERYWHERE, "--port", "0", cwd=tmp_path, env=env)


class TestTheKey:
    @pytest.mark.parametrize("name", WRONG)
    def test_without_it_everything_is_407(self, keyed: Keyed, name: str) -> None:
        """For hosts that are looked into, and for bypassed ones; nothing was dialled for it."""
        before = keyed.contacts
        for url in keyed.urls():
            if url.startswith("https"):
                authority = url.removeprefix("https://").removesuffix("/x").encode()
                found = keyed.proxy.refused(authority, WRONG[name])
            else:
                found = keyed.proxy.get(url, proxy_headers=WRONG[name])
            assert found.status == 407
            assert found.header(b"proxy-authenticate") == b'Basic realm="buffr"'
            assert KEY.encode() not in found.body
        assert keyed.contacts == before

    @pytest.mark.parametrize(
        ("method", "target"),
        [
            (b"GET", b"/"),
            (b"OPTIONS", b"*"),
            (b"GET", b"ftp://localhost/"),
            (b"GET", b"http:///"),
            (b"CONNECT", b"localhost"),
            (b"CONNECT", b"localhost:0"),
            (b"CONNECT", b"169.254.169.254:80"),
        ],
    )
    def test_it_comes_before_any_other_fault(
        self, keyed: Keyed, method: bytes, target: bytes
    ) -> None:
        """Who has no key learns nothing of what would be wrong besides."""
        with keyed.proxy.plain() as client:
            client.send(request(target, method=method))
            assert client.answer().status == 407

    @pytest.mark.parametrize("name", RIGHT)
    def test_with_it_everything_is_served(self, keyed: Keyed, name: str) -> None:
        for url in keyed.urls():
            if url.startswith("https://127"):
                continue
            assert keyed.proxy.get(url, proxy_headers=RIGHT[name]).body.startswith(b"GET ")
        authority = b"127.0.0.1:%d" % keyed.secure.port
        keyed.proxy.opened(authority, RIGHT[name]).close()

    def test_a_refused_client_may_try_again_on_its_connection(self, keyed: Keyed) -> None:
        """Many clients name the key only when they are asked."""
        authority = b"localhost:%d" % keyed.secure.port
        with keyed.proxy.plain() as client:
            client.send(request(authority, method=b"CONNECT"))
            assert client.answer().status == 407
            client.send(request(authority, method=b"CONNECT", headers=[basic("me", KEY)]))
            assert client.answer(b"HEAD").status == 200

    def test_each_request_outside_of_tunnels_names_it(self, keyed: Keyed) -> None:
        """The one before it says nothing of who sends the next."""
        target = f"http://localhost:{keyed.plain.port}/again".encode()
        with keyed.proxy.plain() as client:
            client.send(request(target, headers=[basic("me", KEY)]))
            assert client.answer().status == 200
            client.send(request(target))
            assert client.answer().status == 407

    def test_it_goes_nowhere(self, keyed: Keyed) -> None:
        """No upstream gets it, relayed or not; no cassette and no log line has it."""
        credentials = [basic("me", KEY), (b"proxy-connection", b"keep-alive")]
        urls = [url.replace("/x", "/nowhere") for url in keyed.urls()]
        for url in urls:
            if not url.startswith("https://127"):
                assert keyed.proxy.get(url, proxy_headers=credentials).status == 200
        inside = keyed.proxy.get(
            f"https://localhost:{keyed.secure.port}/inside",
            headers=credentials,
            proxy_headers=credentials,
        )
        assert inside.status == 200
        received = keyed.secure.received + keyed.plain.received
        targets = [one.target for one in received]
        assert targets.count(b"/nowhere") == 3
        assert targets.count(b"/inside") == 1
        secrets = (KEY.encode(), encoded(f"me:{KEY}").encode())
        for one in received:
            assert not any(secret in one.raw for secret in secrets)
            assert b"proxy-" not in one.raw.lower()
        for path in keyed.proxy.directory.rglob("*"):
            assert path.is_dir() or not any(secret in path.read_bytes() for secret in secrets)
        assert not any(secret.decode() in keyed.proxy.process.log() for secret in secrets)


class TestARequiredKeyOnLoopback:
    """The one listener that served without it, with ``access.required`` and without a word."""

    def test_is_asked_for(self, tmp_path: Path) -> None:
        """Everywhere: plain requests, tunnels that are looked into, and bypassed ones."""
        access = {"required": True, "key": KEY}
        with (
            secure_origin(named, "localhost", "127.0.0.1") as secure,
            FakeUpstream(named) as plain,
            forward_proxy(tmp_path, {"bypass": "127.0.0.1"}, access=access) as proxy,
        ):
            keyed = Keyed(proxy, secure, plain)
            for url in keyed.urls():
                if url.startswith("https"):
                    authority = url.removeprefix("https://").removesuffix("/x").encode()
                    found = proxy.refused(authority)
                else:
                    found = proxy.get(url)
                assert found.status == 407
                assert found.header(b"proxy-authenticate") == b'Basic realm="buffr"'
            assert keyed.contacts == 0
            for url in keyed.urls():
                if not url.startswith("https://127"):
                    found = proxy.get(url, proxy_headers=[basic("me", KEY)])
                    assert found.body.startswith(b"GET ")
            proxy.opened(b"127.0.0.1:%d" % secure.port, [basic("me", KEY)]).close()

    def test_is_made_and_told_where_none_is_given(self, tmp_path: Path) -> None:
        with (
            FakeUpstream(named) as origin,
            forward_proxy(tmp_path, access={"required": True}) as proxy,
        ):
            key = proxy.process.wait_for(r"the access key of this run is ([\w-]+)")[1]
            assert proxy.get(origin.url).status == 407
            assert proxy.get(origin.url, proxy_headers=[basic("", key)]).status == 200

    def test_is_not_asked_of_an_allowed_network(self, tmp_path: Path) -> None:
        access = {"required": True, "key": KEY, "allow": "127.0.0.1"}
        with FakeUpstream(named) as origin, forward_proxy(tmp_path, access=access) as proxy:
            assert proxy.get(origin.url).status == 200


class TestNetworks:
    def test_an_allowed_network_needs_no_key(self, tmp_path: Path) -> None:
        rows = [{"host": "127.0.0.1"}]
        access = {"allow": ["10.0.0.0/8", "127.0.0.1"]}
        with (
            FakeUpstream(named) as origin,
            forward_proxy(tmp_path, {"hosts": rows}, listen=EVERYWHERE, access=access) as proxy,
        ):
            assert proxy.get(origin.url).status == 200

    def test_others_are_403_where_there_is_no_key(self, tmp_path: Path) -> None:
        """No credentials would help, so none are asked for."""
        access = {"allow": ["10.0.0.0/8"]}
        forward = {"hosts": [{"host": "127.0.0.1"}], "bypass": "localhost"}
        with (
            FakeUpstream(named) as origin,
            forward_proxy(tmp_path, forward, listen=EVERYWHERE, access=access) as proxy,
        ):
            for headers in ((), [basic("me", "any")]):
                for host in ("127.0.0.1", "localhost"):
                    url = f"http://{host}:{origin.port}/"
                    found = proxy.get(url, proxy_headers=headers)
                    assert found.status == 403
                    assert found.header(b"proxy-authenticate") is None
                    assert proxy.refused(f"{host}:{origin.port}".encode(), headers).status == 403
            assert origin.connections == 0

    def test_an_address_mapped_into_ipv6_is_the_one_that_it_is(self, tmp_path: Path) -> None:
        """A port on ``::`` sees 127.0.0.1 as ``::ffff:127.0.0.1``."""
        if not socket.has_dualstack_ipv6():
            pytest.skip("this machine has no IPv6")
        access = {"allow": "127.0.0.0/8"}
        with (
            FakeUpstream(named) as origin,
            forward_proxy(
                tmp_path, {"hosts": [{"host": "127.0.0.1"}]}, listen="::", access=access
            ) as proxy,
        ):
            assert proxy.get(origin.url).status == 200


def _counting() -> Iterator[bytes]:
    return (answer(b"%d" % number) for number in itertools.count(1))


class TestScopes:
    """The user name of the proxy's URL names a scope."""

    def test_two_users_have_playheads_of_their_own(self, tmp_path: Path) -> None:
        """Of three recordings of one request each gets the first first."""
        request_ = {"method": "GET", "host": "h.test", "path": "/x", "headers": {}}
        recordings = [
            {"request": request_, "response": {"status": 200, "headers": {}, "body": body}}
            for body in "123"
        ]
        interactions = [{"type": "http", "http": one} for one in recordings]
        written = {"version": 1, "interactions": interactions}
        (tmp_path / "h.test.json").write_text(json.dumps(written))
        with forward_proxy(tmp_path, {"mode": "replay"}) as proxy:

            def get(user: str, scheme: str = "http") -> bytes:
                headers = [basic(user, "")] if user else ()
                return proxy.get(f"{scheme}://h.test/x", proxy_headers=headers).body

            assert [get("a"), get("a"), get("b"), get("a")] == [b"1", b"2", b"1", b"3"]
            assert [get(""), get("b"), get("")] == [b"1", b"2", b"2"]
            assert [get("b", "https"), get("c", "https")] == [b"3", b"1"]
            for scheme, expected in (("http", b"1"), ("https", b"2")):
                got = proxy.get(
                    f"{scheme}://h.test/x",
                    headers=[(b"X-Buffr-Scope", b"d")],
                    proxy_headers=[basic("a", "")],
                )
                assert got.body == expected, "the header wins"

    def test_a_user_name_that_names_no_scope_is_407(self, tmp_path: Path) -> None:
        with forward_proxy(tmp_path, {"mode": "replay"}) as proxy:
            for user in ("a b", "../a", "a/b", "x" * 65, "ä"):
                found = proxy.get("http://h.test/", proxy_headers=[basic(user, "")])
                assert found.status == 407

    def test_scope_cassettes_keep_each_users_recordings_apart(self, tmp_path: Path) -> None:
        """They are recorded and replayed on their own, in files that no host's can be."""
        answers = _counting()

        def script(_: Received) -> bytes:
            return next(answers)

        forward = {"scope_cassettes": True, "require_scope": True}
        users = ("one", "two", "Two", "..", "json")
        with (
            secure_origin(script) as origin,
            forward_proxy(tmp_path, forward) as proxy,
        ):
            for number, user in enumerate(users, 1):
                for _ in range(2):
                    found = proxy.get(f"{origin.url}/x", proxy_headers=[basic(user, "any")])
                    assert found.body == b"%d" % number
            assert proxy.refused(b"localhost:%d" % origin.port).status == 407
            assert proxy.get("http://localhost/").status == 407
        files = proxy.files()
        assert len({name.lower() for name in files}) == len(users)
        assert all(name.startswith("localhost@") for name in files)
        with forward_proxy(tmp_path, {**forward, "mode": "replay"}) as proxy:
            for number, user in enumerate(users, 1):
                found = proxy.get(f"{origin.url}/x", proxy_headers=[basic(user, "")])
                assert found.body == b"%d" % number
            assert proxy.get(f"{origin.url}/x", proxy_headers=[basic("new", "")]).status == 599

    def test_require_scope_asks_every_client_for_a_name(self, tmp_path: Path) -> None:
        """On loopback too, since many clients name it only when they are asked."""
        forward = {"require_scope": True, "bypass": "localhost"}
        with (
            FakeUpstream(named) as origin,
            forward_proxy(tmp_path, forward, env={"BUFFR_KEY": KEY}) as proxy,
        ):
            for headers in ((), field(f"Bearer {KEY}"), [basic("", KEY)]):
                found = proxy.get(origin.url, proxy_headers=headers)
                assert found.status == 407
                assert found.header(b"proxy-authenticate") == b'Basic realm="buffr"'
                assert proxy.refused(b"localhost:%d" % origin.port, headers).status == 407
            assert origin.connections == 0
            assert proxy.get(origin.url, proxy_headers=[basic("me", "")]).status == 200
            named_by_header = (b"X-Buffr-Scope", b"me")
            assert proxy.get(origin.url, proxy_headers=[named_by_header]).status == 200


class TestOwnSettings:
    """The forward proxy's port takes what every port takes."""

    def test_its_access_replaces_the_global_one(self, tmp_path: Path) -> None:
        own = {"access": {"key": KEY, "required": True}}
        with (
            FakeUpstream(named) as upstream,
            forward_proxy(tmp_path, own, access={"key": "another", "required": True}) as proxy,
        ):
            refused = proxy.get(f"{upstream.url}/x", proxy_headers=[basic("me", "another")])
            assert refused.status == 407
            assert proxy.get(f"{upstream.url}/x", proxy_headers=[basic("me", KEY)]).status == 200

    def test_its_access_lets_it_start_on_every_address(self, tmp_path: Path) -> None:
        own = {"access": {"key": KEY}}
        with forward_proxy(tmp_path, own, listen=EVERYWHERE):
            pass

    def test_tls(self, tmp_path: Path) -> None:
        """Plain requests, and tunnels whose TLS is inside that of the port."""
        own = {"tls": True, "access": {"key": KEY, "required": True}}
        with (
            secure_origin(named) as upstream,
            FakeUpstream(named) as plain,
            forward_proxy(tmp_path, own) as proxy,
        ):
            authority = str(tmp_path / "buffr-ca.pem")
            given = ["--proxy-cacert", authority, "--cacert", authority]
            for url in (f"https://localhost:{upstream.port}/a", f"{plain.url}/b"):
                by = f"https://me:{KEY}@localhost:{proxy.port}"
                command = ["curl", "-sS", "-m", "60", "-x", by, *given, url]
                ran = subprocess.run(command, capture_output=True, check=False, timeout=90)
                assert (ran.returncode, ran.stderr) == (0, b"")
                assert ran.stdout.startswith(b"GET ")

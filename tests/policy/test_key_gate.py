from __future__ import annotations

from base64 import b64encode
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.errors import AccessDenied, KeyNeeded
from buffr.message import Headers, Request
from buffr.policy.access import Access
from buffr.policy.key_gate import Admitted, KeyGate

KEY = b"s3cr3t-Key_0123456789abcdefghijklmnopqrstuv"
GATE = KeyGate(Access(key=KEY))
GATEWAY = KeyGate(Access(key=KEY), in_path=True)
CLIENT = "127.0.0.1"


def admitted(
    target: bytes, headers: Headers = (), gate: KeyGate = GATEWAY, client: str = CLIENT
) -> Admitted:
    return gate.admit(Request(b"GET", target, headers), client)


def refused(target: bytes, headers: Headers = (), gate: KeyGate = GATEWAY) -> AccessDenied:
    with pytest.raises(AccessDenied) as caught:
        admitted(target, headers, gate)
    return caught.value


class TestPlaces:
    @pytest.mark.parametrize(
        "field",
        [
            (b"X-Buffr-Key", KEY),
            (b"x-api-buddy-key", KEY),
            (b"Authorization", b"Bearer " + KEY),
            (b"authorization", b"bearer  " + KEY),
        ],
    )
    @pytest.mark.parametrize("gate", [GATE, GATEWAY])
    def test_fields(self, field: tuple[bytes, bytes], gate: KeyGate) -> None:
        """Whatever holds the key is taken off, and nothing else is."""
        others = ((b"Host", b"h"), (b"Accept", b"*/*"))
        found = admitted(b"/wiki/x", (others[0], field, others[1]), gate)
        assert found.request.headers == others
        assert found.request.target == b"/wiki/x"

    @pytest.mark.parametrize(
        ("target", "inner"),
        [
            (b"/wiki/x?key=%b", b"/wiki/x"),
            (b"/wiki/x?a=1&key=%b", b"/wiki/x?a=1"),
            (b"/wiki/x?key=%b&a=%%2f&&b", b"/wiki/x?a=%2f&&b"),
            (b"/wiki/x?key=%b&key=other", b"/wiki/x?key=other"),
            (b"/wiki/x?%%6bey=%b", b"/wiki/x"),
        ],
    )
    def test_the_query(self, target: bytes, inner: bytes) -> None:
        found = admitted(target % KEY)
        assert found.request.target == inner
        assert found.in_query

    @pytest.mark.parametrize(
        ("target", "inner", "segment"),
        [
            (b"/%b/wiki/a%%2Fb//c?d", b"/wiki/a%2Fb//c?d", 0),
            (b"/wiki/%b/a%%2Fb//c?d", b"/wiki/a%2Fb//c?d", 1),
            (b"/wiki/%b", b"/wiki", 1),
            (b"/wiki/%b?a", b"/wiki?a", 1),
            (b"/wiki/%b/", b"/wiki/", 1),
            (b"/%b", b"/", 0),
        ],
    )
    def test_the_path(self, target: bytes, inner: bytes, segment: int) -> None:
        found = admitted(target % KEY)
        assert (found.request.target, found.segment) == (inner, segment)

    def test_a_reverse_ports_path_is_the_upstreams(self) -> None:
        assert isinstance(refused(b"/%b/x" % KEY, gate=GATE), KeyNeeded)

    def test_deeper_in_the_path_it_is_the_upstreams(self) -> None:
        assert isinstance(refused(b"/wiki/x/%b" % KEY), KeyNeeded)

    @pytest.mark.parametrize(
        "target",
        [b"/%b/wiki/%b/x", b"/wiki/%b/%b/x", b"/%b/wiki/x?key=%b", b"/wiki/x?key=%b&key=%b"],
    )
    def test_given_twice(self, target: bytes) -> None:
        """What is left of it would go to the upstream, and into the log."""
        assert admitted(target % (KEY, KEY)).request.target == b"/wiki/x"

    @pytest.mark.parametrize(
        ("referer", "inner"),
        [
            (b"http://h:1/%b/wiki/page?a", b"http://h:1/wiki/page?a"),
            (b"http://h:1/wiki/page?a&key=%b", b"http://h:1/wiki/page?a"),
            (b"/wiki/%b", b"/wiki"),
            (b"http://h:1/wiki/%%2f/?q=1", b"http://h:1/wiki/%%2f/?q=1"),
            (b"about:blank", b"about:blank"),
            (b"", b""),
        ],
    )
    def test_a_referer_of_ours(self, referer: bytes, inner: bytes) -> None:
        """Whoever follows a link of a page below the key sends the page's URL."""
        given = referer % KEY if b"%b" in referer else referer
        headers = ((b"X-Buffr-Key", KEY), (b"Referer", given))
        assert admitted(b"/wiki/x", headers).request.headers == ((b"Referer", inner),)

    def test_urls_of_webdav(self) -> None:
        """A client that has the key in its URLs has it in those as well."""
        headers = (
            (b"Destination", b"http://h/%b/wiki/b?key=%b" % (KEY, KEY)),
            (b"If", b"<http://h/wiki/%b/a> (<urn:uuid:1>)" % KEY),
        )
        assert admitted(b"/%b/wiki/a" % KEY, headers).request.headers == (
            (b"Destination", b"http://h/wiki/b"),
            (b"If", b"<http://h/wiki/a> (<urn:uuid:1>)"),
        )

    def test_a_referer_admits_nobody(self) -> None:
        assert refused(b"/wiki/x", ((b"Referer", b"http://h/%b/wiki/" % KEY),)).status == 401

    def test_percent_encoded(self) -> None:
        encoded = KEY.replace(b"-", b"%2D")
        assert admitted(b"/wiki/x?key=" + encoded).request.target == b"/wiki/x"
        assert admitted(b"/%b/wiki/x" % encoded).request.target == b"/wiki/x"


class TestWhatIsNotTheKey:
    """It belongs to the upstream, byte for byte."""

    def test_another_bearer_goes_on(self) -> None:
        """Seed: upstream credentials pass through."""
        theirs = (b"Authorization", b"Bearer theirs")
        found = admitted(b"/wiki/x", ((b"X-Buffr-Key", KEY), theirs))
        assert found.request.headers == (theirs,)

    @pytest.mark.parametrize(
        "query", [b"?key=AIza&x=%20", b"?Key=%b" % KEY, b"?k&key", b"?", b"?apikey=%b" % KEY]
    )
    def test_another_query_goes_on(self, query: bytes) -> None:
        found = admitted(b"/wiki/x" + query, ((b"X-Buffr-Key", KEY),))
        assert found.request.target == b"/wiki/x" + query
        assert not found.in_query

    @given(st.binary(max_size=50).map(lambda tail: b"/wiki/" + tail))
    def test_any_target_without_the_key_is_unchanged(self, target: bytes) -> None:
        assert admitted(target, ((b"X-Buffr-Key", KEY),)).request.target == target

    def test_fields_of_buffrs_own_never_go_on(self) -> None:
        gate = KeyGate(Access(), in_path=True)
        assert admitted(b"/x", ((b"X-Buffr-Key", b"any"),), gate).request.headers == ()


class TestRefusals:
    @pytest.mark.parametrize(
        ("target", "headers"),
        [
            (b"/wiki/x", ()),
            (b"/wrong/wiki/x", ()),
            (b"/wiki/x?key=wrong", ()),
            (b"/wiki/x", ((b"X-Buffr-Key", b"wrong"),)),
            (b"/wiki/x", ((b"X-Buffr-Key", b""),)),
            (b"/wiki/x", ((b"Authorization", b"Bearer wrong"),)),
            (b"/wiki/x", ((b"Authorization", b"Basic " + b64encode(b"u:" + KEY)),)),
            (b"/wiki/x", ((b"Authorization", b"Bearer"),)),
        ],
    )
    def test_without_the_key_it_is_401(self, target: bytes, headers: Headers) -> None:
        error = refused(target, headers)
        assert error.status == 401
        assert error.headers == ((b"WWW-Authenticate", b'Bearer realm="buffr"'),)

    def test_it_says_nothing_of_the_request(self) -> None:
        assert "wrong-key" not in str(refused(b"/wrong-key/x"))


class TestNetworks:
    def test_a_network_needs_no_key(self) -> None:
        gate = KeyGate(Access(key=KEY, allow=(ip_network("10.0.0.0/8"),)))
        assert admitted(b"/x", gate=gate, client="10.1.2.3")
        with pytest.raises(KeyNeeded):
            admitted(b"/x", gate=gate, client="192.0.2.1")

    def test_networks_alone_keep_others_out(self) -> None:
        gate = KeyGate(Access(allow=(ip_network("10.0.0.0/8"),)))
        with pytest.raises(AccessDenied) as caught:
            admitted(b"/x", gate=gate, client="192.0.2.1")
        assert caught.value.status == 403

    def test_without_either_everybody_comes_in(self) -> None:
        request = Request(b"GET", b"/x?key=1", ((b"Authorization", b"Bearer theirs"),))
        assert KeyGate(Access()).admit(request, "192.0.2.1").request is request

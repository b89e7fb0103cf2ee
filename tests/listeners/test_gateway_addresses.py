from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.listeners.gateway_addresses import Outside, WayBack, inner_target, leads_out
from buffr.message import ResponseHead
from buffr.origin import Origin

WIKI = Outside(b"wiki", Origin.parse("https://wiki.test"))
API = Outside(b"api", Origin.parse("https://api.test:8443/v1/"))
OLD = Outside(b"old", Origin.parse("https://api.test:8443/v1/old"))
ROUTES = (WIKI, API, OLD)


def way_back(own: Outside = API, rest: bytes = b"/a/b", **keys: bytes) -> WayBack:
    return WayBack(own, ROUTES, rest, **keys)


def cookie(value: bytes, own: Outside = API, rest: bytes = b"/a/b") -> bytes:
    head = ResponseHead(200, b"OK", ((b"Set-Cookie", value),))
    return way_back(own, rest).head(head).headers[0][1]


class TestTargets:
    @pytest.mark.parametrize(
        ("rest", "inner"),
        [
            (b"/x?q", b"/v1/x?q"),
            (b"", b"/v1"),
            (b"/", b"/v1/"),
            (b"?q", b"/v1?q"),
            (b"?", b"/v1?"),
            (b"//x/%2F;y/../z", b"/v1//x/%2F;y/../z"),
        ],
    )
    def test_what_follows_the_name_is_put_behind_the_target(
        self, rest: bytes, inner: bytes
    ) -> None:
        assert inner_target(API, rest) == inner

    @pytest.mark.parametrize(
        ("rest", "out"),
        [
            (b"/..", True),
            (b"/a/../../b", True),
            (b"/%2e%2E/b", True),
            (b"/.%2e/b", True),
            (b"/a%2f..%2F../b", True),
            (b"/a/..\\..\\b", True),
            (b"/..;x/b", True),
            (b"/a//../../b", True),
            (b"/a/..", False),
            (b"/a/../b?/../../..", False),
            (b"/.../..b/b..", False),
            (b"", False),
        ],
    )
    def test_some_lead_above_it(self, rest: bytes, *, out: bool) -> None:
        assert leads_out(API, rest) is out
        assert not leads_out(WIKI, rest)

    @pytest.mark.parametrize(("rest", "inner"), [(b"", b"/"), (b"?q", b"/?q"), (b"/x", b"/x")])
    def test_a_target_without_a_path(self, rest: bytes, inner: bytes) -> None:
        assert inner_target(WIKI, rest) == inner


class TestRedirects:
    @pytest.mark.parametrize(
        ("said", "mapped"),
        [
            (b"https://api.test:8443/v1/x?y=1#z", b"/api/x?y=1#z"),
            (b"HTTPS://API.test:8443/v1/x", b"/api/x"),
            (b"https://api.test:8443/v1", b"/api"),
            (b"https://api.test:8443/v1?a", b"/api?a"),
            (b"//api.test:8443/v1/x", b"/api/x"),
            (b"/v1/x%2Fy//z", b"/api/x%2Fy//z"),
            (b"https://wiki.test/x", b"/wiki/x"),
            (b"https://wiki.test:443", b"/wiki"),
            (b"https://api.test:8443/v1/old/x", b"/old/x"),
            (b"https://api.test:8443/v1/older", b"/api/older"),
        ],
    )
    def test_addresses_of_routes_become_the_gateways(self, said: bytes, mapped: bytes) -> None:
        assert way_back().url(said) == mapped

    @pytest.mark.parametrize(
        "said",
        [
            b"https://elsewhere.test/v1/x",
            b"https://api.test/v1/x",
            b"http://api.test:8443/v1/x",
            b"https://user@api.test:8443/v1/x",
            b"https://api.test:8443/v2/x",
            b"https://api.test:8443/v10",
            b"mailto:a@b",
            b"https://api.test:port/",
            b"https://[/x",
            b"\xff\xfe",
            b"",
        ],
    )
    def test_other_addresses_stay(self, said: bytes) -> None:
        assert way_back().url(said) == said

    def test_a_path_beside_the_target_is_named_in_full(self) -> None:
        """Below the gateway it would lead into nowhere."""
        assert way_back().url(b"/login") == b"https://api.test:8443/login"

    @pytest.mark.parametrize("said", [b"c", b"./c?x", b"?x", b"#y", b"c/..d"])
    def test_relative_ones_lead_below_the_name_as_they_are(self, said: bytes) -> None:
        assert way_back().url(said) == said

    @pytest.mark.parametrize(
        ("rest", "said", "mapped"),
        [
            (b"/a/b", b"../c", b"/api/c"),
            (b"/a", b"../c", b"https://api.test:8443/c"),
            (b"", b"c", b"https://api.test:8443/c"),
            (b"", b"v1/c", b"/api/c"),
            (b"?q", b"?x", b"/api?x"),
        ],
    )
    def test_relative_ones_that_a_client_would_resolve_otherwise(
        self, rest: bytes, said: bytes, mapped: bytes
    ) -> None:
        assert way_back(rest=rest).url(said) == mapped

    def test_the_key_stays_where_the_client_has_it(self) -> None:
        said = b"https://wiki.test/x?a#f"
        assert way_back(before=b"/KEY").url(said) == b"/KEY/wiki/x?a#f"
        assert way_back(after=b"/KEY").url(said) == b"/wiki/KEY/x?a#f"
        assert way_back(query=b"key=KEY").url(said) == b"/wiki/x?a&key=KEY#f"

    @pytest.mark.parametrize(
        ("said", "base", "mapped"),
        [
            (b"/v1/x?y#z", b"", b"http://named/x?y#z"),
            (b"https://api.test:8443/v1", b"", b"http://named"),
            (b"https://api.test:8443/v1/x", b"/v1", b"http://named/v1/x"),
            (b"../c", b"/v1", b"http://named/v1/c"),
            (b"https://wiki.test/x", b"", b"https://wiki.test/x"),
            (b"c", b"", b"c"),
        ],
    )
    def test_a_client_that_asked_for_an_absolute_url_gets_such(
        self, said: bytes, base: bytes, mapped: bytes
    ) -> None:
        back = WayBack(API, (), b"/a/b", at=b"http://named", base=base)
        assert back.url(said) == mapped

    @given(st.binary(max_size=40))
    def test_any_bytes_are_mapped_or_left(self, said: bytes) -> None:
        assert isinstance(way_back().url(said), bytes)


class TestHeads:
    def test_location_content_location_and_links(self) -> None:
        head = ResponseHead(
            302,
            b"Found",
            (
                (b"LOCATION", b"/v1/x"),
                (b"Content-Location", b"https://api.test:8443/v1/y"),
                (b"Link", b'</v1/z?p=2>; rel="next", <https://else.test/v1>; rel=last'),
                (b"X-Other", b"/v1/x"),
            ),
        )
        assert way_back().head(head).headers == (
            (b"LOCATION", b"/api/x"),
            (b"Content-Location", b"/api/y"),
            (b"Link", b'</api/z?p=2>; rel="next", <https://else.test/v1>; rel=last'),
            (b"X-Other", b"/v1/x"),
        )

    def test_a_head_without_addresses_is_the_same_one(self) -> None:
        head = ResponseHead(200, b"OK", ((b"Content-Type", b"text/plain"),))
        assert way_back().head(head) is head


class TestCookies:
    @pytest.mark.parametrize(
        ("said", "mapped"),
        [
            (b"a=b; Path=/v1/x; Secure", b"a=b; Path=/api/x; Secure"),
            (b"a=b; path=/v1", b"a=b; path=/api"),
            (b"a=b; Path=/v1/", b"a=b; Path=/api"),
            (b"a=b; Path=/", b"a=b; Path=/api"),
            (b"a=b; Domain=.api.test; Path=/v1; HttpOnly", b"a=b; Path=/api; HttpOnly"),
            (b"a=b;domain=api.test", b"a=b"),
            (b"a=b; Path=/v10", b"a=b; Path=/v10"),
            (b"a=b; Path", b"a=b; Path"),
            (b"a=b", b"a=b"),
            (b"__Host-a=b; Secure; Path=/", b"__Host-a=b; Secure; Path=/"),
            (b'a="x,y"; Expires=Tue, 01 Jan 2030 00:00:00 GMT', None),
        ],
    )
    def test_they_are_the_gateways_below_the_name(self, said: bytes, mapped: bytes | None) -> None:
        assert cookie(said) == (said if mapped is None else mapped)

    @pytest.mark.parametrize(
        ("said", "base", "mapped"),
        [
            (b"a=b; Path=/v1/x; Domain=api.test", b"", b"a=b; Path=/x"),
            (b"a=b; Path=/v1/", b"", b"a=b; Path=/"),
            (b"a=b; Path=/", b"", b"a=b; Path=/"),
            (b"a=b; Path=/v1/x", b"/v1", b"a=b; Path=/v1/x"),
        ],
    )
    def test_of_a_client_that_asked_for_an_absolute_url(
        self, said: bytes, base: bytes, mapped: bytes
    ) -> None:
        head = ResponseHead(200, b"OK", ((b"Set-Cookie", said),))
        back = WayBack(API, (), b"/a/b", at=b"http://named", base=base)
        assert back.head(head).headers[0][1] == mapped

    def test_without_a_path_and_asked_for_by_the_name_alone(self) -> None:
        """A client would send it to every route."""
        assert cookie(b"a=b", rest=b"") == b"a=b; Path=/api"

    def test_a_target_without_a_path(self) -> None:
        assert cookie(b"a=b; Path=/", WIKI) == b"a=b; Path=/wiki"
        assert cookie(b"a=b; Path=/x/", WIKI) == b"a=b; Path=/wiki/x/"

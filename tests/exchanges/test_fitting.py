"""Variants of one key, joined where one request may have got them all."""

from __future__ import annotations

from attrs import evolve

from buffr.exchanges.fitting import filed, fitting, of_one_request, variants_of
from buffr.matching.variants import Selecting
from buffr.message import Headers
from buffr.stores.base import Matches

JSON = (b"content-type", b"text/json")
PAGE = (b"content-type", b"text/html")


def matches(place: int, asked: Headers, *answer: tuple[bytes, bytes]) -> Matches:
    variant = Selecting(tuple(asked)).variant(answer)
    return Matches(variant.name, [place, place + 10], variant)


def asking(*fields: tuple[bytes, bytes]) -> Selecting:
    return Selecting(fields)


class TestFitting:
    def test_in_recorded_order(self) -> None:
        asked = ((b"accept", b"text/json"),)
        found = [matches(2, asked, JSON), matches(1, asked), matches(3, asked, PAGE)]
        fit = fitting(asking(*asked), found)
        assert fit is not None
        assert list(fit.places) == [1, 2, 3, 11, 12, 13]
        assert fit.name == found[0].name

    def test_the_same_accept_first(self) -> None:
        json, page = (((b"accept", kind),) for kind in (b"text/json", b"*/*"))
        found = [matches(1, json, JSON), matches(2, page, PAGE), matches(3, page)]
        fit = fitting(asking(*page), found)
        assert fit is not None
        assert list(fit.places) == [2, 3, 12, 13]

    def test_one_client_of_several_that_another_accept_admits(self) -> None:
        json, page = (((b"accept", kind[1]),) for kind in (JSON, PAGE))
        found = [matches(1, json, JSON), matches(2, page, PAGE), matches(3, json)]
        fit = fitting(asking(), found)
        assert fit is not None
        assert list(fit.places) == [1, 3, 11, 13]

    def test_none_that_differs(self) -> None:
        recorded = matches(1, ((b"x-theme", b"dark"),), (b"vary", b"X-Theme"))
        assert fitting(asking((b"x-theme", b"light")), [recorded]) is None
        assert fitting(asking(), []) is None

    def test_without_headers_only_where_no_other_fits(self) -> None:
        bare, recorded = Matches(b"bare", [1]), matches(2, (), JSON)
        assert fitting(asking(), [bare, recorded]) is recorded
        assert fitting(asking((b"accept", b"text/csv")), [bare, recorded]) is bare


class TestOfOneRequest:
    def test_other_answers_of_it(self) -> None:
        """A newer client gets them in turn, as the older one did."""
        asked = ((b"accept", b"*/*"), (b"stripe-version", b"1"), (b"x-theme", b"dark"))
        vary = (b"vary", b"X-Theme")
        found = [matches(1, asked), matches(2, asked, JSON), matches(3, asked, vary, PAGE)]
        joined = of_one_request(found)
        assert joined is not None
        assert list(joined.places) == [1, 2, 3, 11, 12, 13]

    def test_requests_that_differ(self) -> None:
        vary = (b"vary", b"X-Theme")
        for name in (b"accept", b"stripe-version", b"x-theme"):
            found = [matches(at, ((name, b"%d/*" % at),), vary, JSON) for at in (1, 2)]
            assert of_one_request(found) is None
        assert of_one_request([]) is None

    def test_requests_that_differ_from_one_between(self) -> None:
        """The first and the last were asked with another Accept, of which the second is silent."""
        asked = [((b"accept", kind), (b"x-theme", b"dark")) for kind in (b"a/b", b"a/b", b"c/d")]
        found = [matches(at, one, JSON) for at, one in enumerate(asked)]
        assert of_one_request(found[:2]) is not None
        between = matches(1, asked[1], (b"vary", b"Accept"))
        assert of_one_request([found[0], between, found[2]]) is None
        assert of_one_request([between, found[2]]) is None


def test_filed() -> None:
    """By the variant that a place belongs to, whatever sequence it was played in."""
    one, other = matches(1, (), JSON), matches(2, (), PAGE)
    fit = fitting(asking(), [one, other])
    assert fit is not None
    found = [filed(fit, place) for place in fit.places]
    assert found == [(one.name, 1), (other.name, 1), (one.name, 2), (other.name, 2)]
    assert filed(one, 11) == (one.name, 2)
    assert filed(one, 5) == (one.name, 0)


def test_variants_of() -> None:
    one, other = matches(1, (), JSON), matches(2, (), PAGE)
    found = variants_of(evolve(one, others=[other]))
    assert [each.places for each in found] == [[1, 11], [2, 12]]
    assert [each.others for each in found] == [(), ()]
    assert variants_of(None) == []

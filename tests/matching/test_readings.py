"""Fields whose names are as often those of data as of credentials: which recording answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buffr.interaction import Body, HTTPInteraction, IndexEntry, RecordedRequest
from buffr.matching.matcher import Matcher
from buffr.matching.rules import MatchRules, Reading, other_readings
from buffr.message import Headers, Request, ResponseHead
from buffr.origin import Origin
from buffr.redaction.pseudonym import pseudonym
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import AMBIGUOUS_FIELDS, RedactionRules
from buffr.stores.cassette.index import Filing, Index

RULES = RedactionRules()
TOKEN = b"sk-proj-1a2B3c4D5e6F7g8H9i0J"
OTHER_TOKEN = b"9f86d081884c7d659a2feaa0c55ad015"
OPAQUE = b"1c6f65dd41e27d05a9a9dd6c5f94ac02"
FORM: Headers = ((b"Content-Type", b"application/x-www-form-urlencoded"),)
PARTS: Headers = ((b"Content-Type", b"multipart/form-data; boundary=xx"),)
ORIGIN = Origin("https", "h.test", 443)


def in_query(name: bytes, value: bytes) -> RecordedRequest:
    return RecordedRequest(b"GET", b"/p?a=1&%b=%b" % (name, value), ())


def live_query(name: bytes, value: bytes) -> Request:
    return Request(b"GET", in_query(name, value).target, ())


def in_form(name: bytes, value: bytes) -> RecordedRequest:
    return RecordedRequest(b"POST", b"/p", FORM, Body.of(b"a=1&%b=%b" % (name, value)))


def in_part(name: bytes, value: bytes) -> RecordedRequest:
    text = b'--xx\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n--xx--\r\n'
    return RecordedRequest(b"POST", b"/p", PARTS, Body.of(text % (name, value)))


Place = Callable[[bytes, bytes], RecordedRequest]
PLACES = st.sampled_from([in_query, in_form, in_part])
NAMES = st.sampled_from(sorted(AMBIGUOUS_FIELDS))
DATA = st.text("abc/. _", max_size=30).map(lambda text: text.replace(" ", "%20").encode())
TOKENS = st.sampled_from([TOKEN, OTHER_TOKEN, b"REDACTED-google-api-key-1a2b3c4d", b"REDACTED"])


NEVER, ALONE, ALWAYS = "never", "where no other value of the name is recorded", "always"


class Replay:
    """Whether a recording answers a live request, as it came or as it is stored."""

    def __init__(self, rules: MatchRules | None = None) -> None:
        rules = rules or MatchRules()
        self.matcher = Matcher(rules, with_origin=False, salt=lambda: b"salt")
        self.redactor = Redactor(rules.redaction, b"salt")

    def stored(self, request: RecordedRequest) -> RecordedRequest:
        answer = HTTPInteraction(request, ResponseHead(200, b"OK", ()))
        return self.redactor.interaction(answer).request

    def digests(self, live: RecordedRequest) -> list[bytes]:
        request = Request(live.method, live.target, live.headers)
        return [key.digest for key in self.matcher.live(request, live.body.data).keys]

    def __call__(self, recorded: RecordedRequest, live: RecordedRequest) -> str:
        stored = self.stored(recorded)
        assert self.matcher.recorded(stored).digest == self.matcher.recorded(recorded).digest
        index = Index(Filing(self.matcher.recorded_key))
        index.add(IndexEntry(stored), 0)
        request = Request(live.method, live.target, live.headers)
        identity = self.matcher.live(request, live.body.data)
        if index.find(identity.keys):
            return ALWAYS
        if index.find_loose(identity.loose):
            return ALWAYS if identity.is_credential else ALONE
        return NEVER


class TestQueries:
    @pytest.mark.parametrize(
        ("recorded", "live", "answers"),
        [
            (b"key=en", b"key=en", ALWAYS),
            (b"key=en", b"key=de", NEVER),
            (b"key=en", b"key=" + TOKEN, NEVER),
            (b"key=" + TOKEN, b"key=" + OTHER_TOKEN, ALWAYS),
            (b"key=" + TOKEN, b"key=test", ALWAYS),
            (b"key=" + TOKEN, b"key=", ALWAYS),
            (b"key=" + TOKEN, b"", NEVER),
            (b"key=" + OPAQUE, b"key=" + OPAQUE, ALWAYS),
            (b"key=" + OPAQUE, b"key=" + OTHER_TOKEN, ALONE),
            (b"key=" + OPAQUE, b"key=test", ALONE),
            (b"key=" + OPAQUE, b"key=" + TOKEN, ALWAYS),
            (b"api_key=" + OPAQUE, b"api_key=" + OTHER_TOKEN, ALWAYS),
            (b"key=REDACTED-key", b"key=en", ALONE),
            (b"KEY=en", b"key=en", NEVER),
            (b"%6bey=" + TOKEN, b"%6bey=test", ALWAYS),
            (b"key[]=" + TOKEN, b"key[]=test", ALWAYS),
            (b"filter[key]=" + TOKEN, b"filter[key]=test", NEVER),
            (b"key=en&token=" + TOKEN, b"key=en&token=test", ALWAYS),
            (b"key=en&token=" + TOKEN, b"key=de&token=test", NEVER),
            (b"key=%b&token=%b" % (TOKEN, TOKEN), b"key=a&token=b", ALWAYS),
            (b"key=en&key=" + TOKEN, b"key=en&key=test", NEVER),
            (b"x=1;key=" + TOKEN, b"x=1;key=test", ALWAYS),
            (b"x=1;key=en", b"x=1;key=de", NEVER),
            (b"api_key=en", b"api_key=de", ALWAYS),
            (b"page=1&key=" + TOKEN, b"page=2&key=test", NEVER),
        ],
    )
    def test_answers(self, recorded: bytes, live: bytes, answers: str) -> None:
        requests = [RecordedRequest(b"GET", b"/p?" + query, ()) for query in (recorded, live)]
        assert Replay()(*requests) == answers

    def test_the_exact_value_comes_first(self) -> None:
        """Where both are recorded, data is answered by data."""
        replay = Replay()
        digests = replay.digests(in_query(b"key", b"en"))
        assert digests[0] == replay.matcher.recorded(in_query(b"key", b"en")).digest
        assert digests[1] == replay.matcher.recorded(in_query(b"key", TOKEN)).digest

    def test_a_token_is_read_one_way(self) -> None:
        """So does one with an unambiguous name, or without such a field."""
        replay = Replay()
        for query in (b"?api_key=" + TOKEN, b"?api_key=test", b"?page=1", b""):
            assert len(replay.digests(RecordedRequest(b"GET", b"/p" + query, ()))) == 1

    def test_earlier_recordings(self) -> None:
        """Tokens of a known shape were stored like opaque values: the same one is found."""
        replay = Replay()
        index = Index(Filing(replay.matcher.recorded_key))
        stored = pseudonym(b"key", TOKEN, b"salt")
        for number, value in enumerate((stored, b"REDACTED-key-00000000")):
            index.add(IndexEntry(in_query(b"key", value)), number)
        found = index.find(replay.matcher.live(live_query(b"key", TOKEN), b"").keys)
        assert found is not None
        assert list(found.places) == [0]

    def test_named_in_the_settings(self) -> None:
        """A field of the settings is always a credential."""
        replay = Replay(MatchRules(redaction=RedactionRules.with_extra(fields=["key"])))
        assert replay(in_query(b"key", b"en"), in_query(b"key", b"de")) == ALWAYS
        assert replay.stored(in_query(b"key", b"en")).target == b"/p?a=1&key=REDACTED-key"

    def test_origins(self) -> None:
        """The readings of a whole origin come before those without one, each in its turn."""
        matcher = Matcher(MatchRules(), with_origin=True)
        live = matcher.live(Request(b"GET", b"/p?key=en", ()), b"", ORIGIN).keys
        assert [len(key.parts) for key in live] == [7, 6, 5, 4, 7, 6, 5, 4]
        here = RecordedRequest(b"GET", b"/p?key=en", (), scheme="https", host="h.test", port=443)
        assert matcher.recorded(here).digest == live[0].digest
        assert matcher.recorded(evolve(here, target=b"/p?key=" + TOKEN)).digest == live[4].digest

    def test_memory_keeps_readings_apart(self) -> None:
        """What is remembered of a request with one body fits no other body."""
        matcher = Matcher(MatchRules(), with_origin=False)
        request = Request(b"POST", b"/p?key=en", FORM)
        bodies = (b"", b"token=a", b"token=b", b"")
        found = [tuple(key.digest for key in matcher.live(request, body).keys) for body in bodies]
        assert found[0] == found[3]
        assert len(set(found)) == 3
        assert [len(each) for each in found] == [2, 4, 4, 2]

    def test_exact_keys_have_one_reading(self) -> None:
        """Keys that are never written down take nothing for anything else."""
        matcher = Matcher(MatchRules(credentials="exact"), with_origin=False)
        assert len(matcher.live(Request(b"GET", b"/p?key=en", ()), b"").keys) == 1
        assert len(matcher.live(Request(b"POST", b"/p", FORM), b"key=en").keys) == 1


class TestEverywhere:
    @given(PLACES, NAMES, DATA, DATA)
    def test_data_is_exact(self, place: Place, name: bytes, one: bytes, other: bytes) -> None:
        """Data is stored in clear, and answers only its like."""
        replay = Replay()
        assert replay(place(name, one), place(name, one)) == ALWAYS
        assert replay(place(name, one), place(name, other)) == (ALWAYS if one == other else NEVER)
        stored = replay.stored(place(name, one))
        assert (stored.target, stored.body.data) == (
            place(name, one).target,
            place(name, one).body.data,
        )

    @given(PLACES, NAMES, st.one_of(TOKENS, DATA))
    def test_credentials_are_one(self, place: Place, name: bytes, any_: bytes) -> None:
        """A recorded credential answers for any other, and for a possible dummy."""
        assert Replay()(place(name, TOKEN), place(name, any_)) == ALWAYS

    @given(PLACES, NAMES, st.one_of(st.sampled_from([OTHER_TOKEN, b"REDACTED-x"]), DATA))
    def test_opaque_values(self, place: Place, name: bytes, other: bytes) -> None:
        """An opaque value may be data: another one is only answered if there is no other."""
        replay = Replay()
        assert replay(place(name, OPAQUE), place(name, OPAQUE)) == ALWAYS
        expected = ALWAYS if other.startswith(b"REDACTED") else ALONE
        assert replay(place(name, OPAQUE), place(name, other)) == expected

    @given(PLACES, st.sampled_from([b"session_token", b"sessionToken"]), st.one_of(TOKENS, DATA))
    def test_tokens_of_sessions(self, place: Place, name: bytes, other: bytes) -> None:
        """Two sessions are two requests, and a dummy for the only one replays it."""
        replay = Replay()
        assert replay(place(name, OPAQUE), place(name, OPAQUE)) == ALWAYS
        assert replay(place(name, OPAQUE), place(name, other)) in (ALONE, ALWAYS)
        assert replay(place(name, OPAQUE), place(name, OTHER_TOKEN)) == ALONE
        stored = replay.stored(place(name, b"never-said"))
        assert b"never-said" not in stored.target + stored.body.data

    def test_two_values_of_a_name(self) -> None:
        """If two are recorded, another value cannot be attributed to either."""
        replay = Replay()
        index = Index(Filing(replay.matcher.recorded_key))
        for number, value in enumerate((OPAQUE, OTHER_TOKEN)):
            index.add(IndexEntry(replay.stored(in_query(b"key", value))), number)
        for value, place in ((OPAQUE, 0), (OTHER_TOKEN, 1)):
            found = index.find(replay.matcher.live(live_query(b"key", value), b"").keys)
            assert found is not None
            assert list(found.places) == [place]
        third = replay.matcher.live(live_query(b"key", OPAQUE[::-1]), b"")
        assert index.find(third.keys) is None
        assert index.find_loose(third.loose) is None

    @given(PLACES, NAMES)
    def test_distinct(self, place: Place, name: bytes) -> None:
        """With distinct credentials neither another token nor a dummy is answered; data is."""
        replay = Replay(MatchRules(credentials="distinct"))
        assert replay(place(name, TOKEN), place(name, TOKEN)) == ALWAYS
        assert replay(place(name, TOKEN), place(name, OTHER_TOKEN)) == NEVER
        assert replay(place(name, TOKEN), place(name, b"test")) == NEVER
        assert replay(place(name, b"en"), place(name, b"en")) == ALWAYS

    def test_text_with_spaces_is_not_a_token(self) -> None:
        """Percent-encoded they have letters and digits."""
        data = in_form(b"auth", b"%20%20%20%20aaaa")
        assert Replay().stored(data).body == data.body


class TestReading:
    def test_doubtful(self) -> None:
        """Names that could be read otherwise are reported, and no others."""
        reading = Reading(RULES, frozenset((b"auth",)))
        assert reading.holds_credential(b"auth", b"x")
        assert reading.holds_credential(b"api_key", b"x")
        assert reading.holds_credential(b"token", TOKEN)
        assert not reading.holds_credential(b"key", b"x")
        assert not reading.holds_credential(b"page", b"x")
        assert reading.doubtful == {b"key"}

    def test_other_readings(self) -> None:
        """One at a time and all; of many, whose spellings a client chooses, just all."""
        assert other_readings(frozenset()) == ()
        assert other_readings(frozenset((b"a",))) == (frozenset((b"a",)),)
        assert list(map(sorted, other_readings(frozenset((b"b", b"a"))))) == [
            [b"a"],
            [b"b"],
            [b"a", b"b"],
        ]
        many = frozenset(b"%d" % number for number in range(9))
        assert other_readings(many) == (many,)

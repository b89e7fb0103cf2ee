from __future__ import annotations

from base64 import b64encode

import pytest
from drift_answers import exchange

from buffr.drift.carrying import Carried
from buffr.drift.stand_ins import Credentials, StandIn, filled, stand_ins
from buffr.redaction.forms import stand_in

SALT = b"salt"
SECRET = b"sk-0123456789abcdefghij"


class TestStandIns:
    @pytest.mark.parametrize(
        ("text", "name", "digest"),
        [
            (b"REDACTED-authorization-0a1b2c3d", "authorization", "0a1b2c3d"),
            (b"REDACTED-x-api-key", "x-api-key", ""),
            (b"REDACTED_session_0a1b2c3d", "session", "0a1b2c3d"),
            (b"eyJhbGciOiJub25lIn0.eyJhIjoxfQ.REDACTED-id-token-0a1b2c3d", "id-token", "0a1b2c3d"),
            (b"4edac7ed-0000-4000-8000-00000a1b2c3d", "", "0a1b2c3d"),
            (b"4EDAC7ED00000000" + b"0" * 8 + b"0A1B2C3D", "", "0a1b2c3d"),
        ],
    )
    def test_their_forms(self, text: bytes, name: str, digest: str) -> None:
        (one,) = stand_ins(b"x=" + text + b"; y")
        assert (one.text, one.name, one.digest) == (text, name, digest)

    @pytest.mark.parametrize(
        "secret", [SECRET, b"0f" * 20, b"6ba7b810-9dad-11d1-80b4-00c04fd430c8"]
    )
    def test_redaction_and_filling_are_inverse(self, secret: bytes) -> None:
        """What redaction replaced, in whatever form, is found by the same name or digest."""
        text = b"Bearer " + stand_in(b"authorization", secret, SALT)
        (one,) = stand_ins(text)
        variables = {one.name or one.digest: "KEY"}
        credentials = Credentials(variables, {"KEY": secret.decode()})
        missing: list[StandIn] = []
        assert filled(text, credentials.fill, missing) == b"Bearer " + secret
        assert missing == []


class TestCredentials:
    def value(self, text: bytes, variables: dict[str, str], **environ: str) -> bytes:
        missing: list[StandIn] = []
        done = filled(text, Credentials(variables, environ).fill, missing)
        return b"missing" if missing else done

    def test_the_most_special_name_counts(self) -> None:
        text = b"REDACTED-x-key-0a1b2c3d"
        variables = {"x-key": "ANY", "x-key-0a1b2c3d": "THIS"}
        assert self.value(text, variables, ANY="a", THIS="b") == b"b"
        assert self.value(b"REDACTED-x-key-ffffffff", variables, ANY="a", THIS="b") == b"a"

    def test_a_user_and_a_password(self) -> None:
        text = b"Basic REDACTED-authorization"
        assert self.value(text, {"authorization": "USER"}, USER="me:secret") == (
            b"Basic " + b64encode(b"me:secret")
        )
        ready = b64encode(b"me:secret").decode()
        assert self.value(text, {"authorization": "USER"}, USER=ready) == b"Basic " + ready.encode()

    def test_without_a_value(self) -> None:
        text = b"REDACTED-x-key"
        assert self.value(text, {}) == b"missing"
        assert self.value(text, {"x-key": "UNSET"}) == b"missing"
        assert self.value(text, {"x-key": ""}) == text
        credentials = Credentials({"x-key": "UNSET"}, {})
        error = credentials.missing(StandIn.of(text))
        assert "UNSET" in str(error)
        assert "--credential x-other=VARIABLE" in str(
            credentials.missing(StandIn.of(b"REDACTED-x-other"))
        )


class TestSecretsOfAnswers:
    def test_a_token_of_a_login_goes_into_later_requests(self) -> None:
        """Found by its digest, whatever the field is called."""
        values = Carried(frozenset())
        values.learn(
            0,
            exchange({"access_token": "REDACTED-access-token-0a1b2c3d"}),
            exchange({"access_token": "live-token"}),
        )
        one = StandIn.of(b"REDACTED-authorization-0a1b2c3d")
        assert values.secret(one) == b"live-token"
        assert values.secret(StandIn.of(b"REDACTED-authorization-ffffffff")) is None

    def test_a_short_cookie(self) -> None:
        """It has no digest, and is found by its name."""
        values = Carried(frozenset())
        values.learn(
            0,
            exchange({}, headers=((b"Set-Cookie", b"sid=REDACTED-sid; Path=/"),)),
            exchange({}, headers=((b"Set-Cookie", b"sid=live; Path=/"),)),
        )
        assert values.secret(StandIn.of(b"REDACTED-sid")) == b"live"

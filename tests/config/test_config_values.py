"""Single values: what each kind takes, what it refuses, and what YAML is not asked about."""

from __future__ import annotations

import pytest
from config_sources import ONE_ROUTE, loaded, refused
from hypothesis import given
from hypothesis import strategies as st

from buffr.config.kinds import ADDRESS, BOOL, FILE_MODE, MODE, PATH, PORT, duration, size, whole
from buffr.config.problems import Problems, shown
from buffr.config.schema import Kind, Refused
from buffr.config.written import Scalar, Tag
from buffr.policy.mode import Mode


def parsed(kind: Kind[object], text: str, tag: Tag = Tag.UNTYPED) -> object:
    return kind.parse(Scalar("here", text, tag))


class TestSizes:
    @pytest.mark.parametrize(
        ("text", "size_bytes"),
        [
            ("0", 0),
            ("1234", 1234),
            ("64KiB", 65536),
            ("1MiB", 1 << 20),
            ("1.5 kib", 1536),
            ("10MB", 10_000_000),
            ("1GB", 10**9),
            ("1TiB", 1 << 40),
            ("7B", 7),
        ],
    )
    def test_taken(self, text: str, size_bytes: int) -> None:
        """Bytes, with binary or decimal units."""
        assert parsed(size(), text) == size_bytes

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "-1",
            "+1",
            "1e3",
            "0x10",
            "010",
            "1_000",
            "1.5",
            "2TiB",
            "1 2",
            "MB",
            "\u0661",
            "\u221e",
        ],
    )
    def test_refused(self, text: str) -> None:
        """Signs, other bases, parts of a byte and numbers beyond the bounds."""
        with pytest.raises(Refused):
            parsed(size(), text)

    @given(st.integers(0, 2**40))
    def test_shown_as_taken(self, size_bytes: int) -> None:
        """What the reference shows for a size is what a user can write."""
        assert parsed(size(), size().show(size_bytes)) == size_bytes


class TestDurations:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("1", 1.0),
            ("0.25", 0.25),
            ("500ms", 0.5),
            ("30s", 30.0),
            ("10m", 600.0),
            ("12h", 43200.0),
            ("30d", 2592000.0),
            ("3650 d", 315360000.0),
        ],
    )
    def test_taken(self, text: str, seconds: float) -> None:
        """Seconds, or a number with its unit."""
        assert parsed(duration(), text) == seconds

    @pytest.mark.parametrize(
        "text",
        ["", "-1s", "1:30", ".nan", ".inf", "inf", "1e3", "3651d", "5M", "1m30s", "s", "9" * 5000],
    )
    def test_refused(self, text: str) -> None:
        """Values that are not durations, or are too long for any timer."""
        with pytest.raises(Refused):
            parsed(duration(), text)

    def test_zero(self) -> None:
        """Zero is taken only where it means something."""
        assert parsed(duration(zero="no limit"), "0") == 0
        with pytest.raises(Refused):
            parsed(duration(), "0ms")


class TestNumbers:
    @pytest.mark.parametrize("text", ["-1", "65536", "080", "8_080", "80.0", "http", "", "\uff19"])
    def test_refused_ports(self, text: str) -> None:
        """A port is a whole number up to 65535, in plain digits."""
        with pytest.raises(Refused):
            parsed(PORT, text)

    @given(st.integers(1, 300))
    def test_bounds(self, number: int) -> None:
        """A number is taken exactly within its bounds."""
        kind = whole(50, 250)
        if 50 <= number <= 250:
            assert parsed(kind, str(number)) == number
        else:
            with pytest.raises(Refused):
                parsed(kind, str(number))

    @pytest.mark.parametrize("text", ["0600", "0o600", "600"])
    def test_file_mode(self, text: str) -> None:
        """Permissions are octal however they are written."""
        assert parsed(FILE_MODE, text) == 0o600

    @pytest.mark.parametrize("written", ["0600", "0o600", '"0600"', "600"])
    def test_file_mode_in_yaml(self, written: str) -> None:
        """YAML's own ideas of 0600 (384, or a text) change nothing."""
        config = loaded(f"{ONE_ROUTE}cassettes: {{file_mode: {written}}}\n")
        assert config.file_mode == 0o600

    @pytest.mark.parametrize("text", ["384", "0777", "0400", "04600", "0x180", "-600", "rw"])
    def test_refused_file_mode(self, text: str) -> None:
        """Permissions without the owner's own, or to execute, are a mistake."""
        with pytest.raises(Refused):
            parsed(FILE_MODE, text)


class TestBooleans:
    @pytest.mark.parametrize("word", ["true", "True", "yes", "on", "ON"])
    def test_yes_in_yaml(self, word: str) -> None:
        """Whatever YAML takes for true is true."""
        assert loaded(f"{ONE_ROUTE}replay_delays: {word}\n").replay_delays is True

    @pytest.mark.parametrize("word", ["false", "no", "off", "Off"])
    def test_no_in_yaml(self, word: str) -> None:
        """Whatever YAML takes for false is false."""
        assert loaded(f"{ONE_ROUTE}replay_delays: {word}\n").replay_delays is False

    @pytest.mark.parametrize("word", ['"true"', "'on'", "0", "1", "y", "enabled", "2024-01-01"])
    def test_refused_in_yaml(self, word: str) -> None:
        """Text in quotes and numbers are no yes or no."""
        (line,) = refused(f"{ONE_ROUTE}replay_delays: {word}\n")
        assert line.startswith("s.yaml:2: replay_delays: ")
        assert line.endswith("must be true or false")

    @pytest.mark.parametrize(("text", "value"), [("1", True), ("0", False), ("ON", True)])
    def test_outside_yaml(self, text: str, value: object) -> None:
        """Flags and variables have no types, so 1 and 0 are taken there."""
        assert parsed(BOOL, text) is value


class TestText:
    @pytest.mark.parametrize("word", ["5", "true", "no", "1.5", "2024-01-01"])
    def test_a_path_is_text(self, word: str) -> None:
        """A value that YAML reads as another type is probably not meant as a path."""
        (line,) = refused(f"{ONE_ROUTE}data_dir: {word}\n")
        assert f"'{word}' is " in line
        assert "unless quoted; must be a path" in line
        assert str(loaded(f"{ONE_ROUTE}data_dir: '{word}'\n").data_dir) == word

    @pytest.mark.parametrize("text", ["", "a\0b"])
    def test_refused_paths(self, text: str) -> None:
        """No path is empty or holds a NUL."""
        with pytest.raises(Refused):
            parsed(PATH, text)

    @pytest.mark.parametrize("word", ["on", "0", "null0", "1:30", "0x1F"])
    def test_names_are_taken_as_written(self, word: str) -> None:
        """A name is its written text, whatever YAML makes of it."""
        assert loaded(f"{ONE_ROUTE}redact: {{query: [{word}]}}\n").redact.query == (word,)

    @pytest.mark.parametrize("name", ["a b", "a:", '""', "x\u00e9"])
    def test_refused_header_names(self, name: str) -> None:
        """A header's name is a token."""
        (line,) = refused(f"{ONE_ROUTE}redact:\n  headers:\n  - ok\n  - {name!r}\n")
        assert line.startswith("s.yaml:5: redact.headers[1]: ")

    @pytest.mark.parametrize(
        "text", ["127.0.0.1", "0.0.0.0", "::1", "2001:db8::1", "fe80::1%eth0", "localhost"]
    )
    def test_addresses(self, text: str) -> None:
        """IP literals and localhost, as they are."""
        assert parsed(ADDRESS, text) == text

    def test_address_that_yaml_takes_for_a_number(self) -> None:
        """YAML 1.1 takes 1:2:3:4:5:6:7:8 for a number to the base of 60."""
        assert loaded(f"{ONE_ROUTE}listen: 1:2:3:4:5:6:7:8\n").listen == "1:2:3:4:5:6:7:8"

    @pytest.mark.parametrize(
        "text", ["", "example.com", "*", "127.1", "256.0.0.1", "[::1]", "::1%a b", "127.0.0.1:80"]
    )
    def test_refused_addresses(self, text: str) -> None:
        """Names are not resolved, and a port stands elsewhere."""
        with pytest.raises(Refused):
            parsed(ADDRESS, text)

    @pytest.mark.parametrize("mode", Mode)
    def test_modes(self, mode: Mode) -> None:
        """A mode is written as the log writes it."""
        assert parsed(MODE, mode.value) is mode


class TestShown:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("plain", "'plain'"),
            ("https://me:s3cret@h/x", "'https://***@h/x'"),
            ("me:s3cret@h", "'***@h'"),
            ("https:/me:s3cret@h", "'***@h'"),
            ("https://me:s3c//ret?x#y@h/z", "'https://***@h/z'"),
            ("https://h/x?key=s3cret", "'https://h/x?***'"),
            ("https://h/x#s3cret", "'https://h/x#***'"),
            ("https://me:s3c", "'https://me:***'"),
            ("https://h:8080/x", "'https://h:8080/x'"),
            ("a\n\x1b[2J\ud800\u00e9", "'a\\n\\x1b[2J\\ud800\\xe9'"),
            ("x" * 99, f"'{'x' * 60}...'"),
        ],
    )
    def test_masked_and_escaped(self, text: str, expected: str) -> None:
        """A value in a message holds no credential, no line break and no control character."""
        assert shown(text) == expected

    def test_lines(self) -> None:
        """A line leaves out what there is nothing to say of."""
        problems = Problems()
        problems.error("--port", "", "text")
        assert problems.errors == ["--port: text"]

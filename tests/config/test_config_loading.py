"""Where settings come from, and what is said when they cannot be read."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from config_sources import ONE_ROUTE, loaded, refused

from buffr.config import Limits, Redaction, load
from buffr.errors import ConfigError


class TestPrecedence:
    def test_defaults(self) -> None:
        """Without a word, the settings are the documented defaults."""
        config = loaded()
        assert config.data_dir == Path()
        assert config.listen == "127.0.0.1"
        assert config.replay_delays is False
        assert config.log_format == "text"
        assert config.durability == "process"
        assert config.file_mode == 0o600
        assert config.redact == Redaction()
        assert config.limits == Limits()
        assert config.warnings == ()

    def test_flags_over_environment_over_file(self) -> None:
        """Each source counts over the one below it, setting by setting."""
        text = ONE_ROUTE + "listen: 127.0.0.2\ndata_dir: file\nlog: {format: json}\n"
        environ = {"BUFFR_LISTEN": "127.0.0.3", "BUFFR_DATA_DIR": "environ"}
        config = loaded(text, environ, {"listen": "127.0.0.4"})
        assert config.listen == "127.0.0.4"
        assert config.data_dir == Path("environ")
        assert config.log_format == "json"

    @pytest.mark.parametrize(
        ("variable", "value", "field", "expected"),
        [
            ("BUFFR_DATA_DIR", "/data", "data_dir", Path("/data")),
            ("BUFFR_LISTEN", "0.0.0.0", "listen", "0.0.0.0"),
            ("BUFFR_LOG_FORMAT", "json", "log_format", "json"),
            ("BUFFR_CA_CERT", "c.pem", "ca_cert", Path("c.pem")),
            ("BUFFR_CA_KEY", "c.key", "ca_key", Path("c.key")),
            ("BUFFR_REPLAY_NODELAY", "0", "replay_delays", True),
            ("BUFFR_REPLAY_NODELAY", "1", "replay_delays", False),
            ("BUFFR_REPLAY_NODELAY", "off", "replay_delays", False),
        ],
    )
    def test_variables(self, variable: str, value: str, field: str, expected: object) -> None:
        """Every variable of the first buffr sets what it set there."""
        assert getattr(loaded(environ={variable: value}), field) == expected

    @pytest.mark.parametrize(
        ("flag", "value", "field", "expected"),
        [
            ("data_dir", "d", "data_dir", Path("d")),
            ("listen", "::1", "listen", "::1"),
            ("log_format", "json", "log_format", "json"),
            ("replay_delays", "true", "replay_delays", True),
            ("replay_delays", "0", "replay_delays", False),
        ],
    )
    def test_flags(self, flag: str, value: str, field: str, expected: object) -> None:
        """Every flag sets its field."""
        assert getattr(loaded(flags={flag: value}), field) == expected

    def test_empty_variables_are_not_set(self) -> None:
        """Compose files pass on empty variables; they change nothing."""
        names = ("BUFFR_LISTEN", "BUFFR_TARGET", "BUFFR_TARGETS", "BUFFR_0_TARGET", "BUFFR_PROXY")
        assert loaded(environ=dict.fromkeys(names, "")) == loaded()

    def test_ca_files_are_in_the_data_directory(self) -> None:
        """The CA's files follow the data directory, wherever that is set."""
        config = loaded(flags={"data_dir": "d"})
        assert (config.ca_cert, config.ca_key) == (Path("d/buffr-ca.pem"), Path("d/buffr-ca.key"))

    def test_config_is_frozen(self) -> None:
        """Nobody changes a setting behind another's back."""
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            loaded().listen = "0.0.0.0"  # type: ignore[misc]


class TestSections:
    def test_limits(self) -> None:
        """Limits are set one by one; the others keep their defaults."""
        text = "limits: {head_bytes: 16KiB, client_idle_s: 2m, upstream_total_s: 0}\n"
        limits = loaded(ONE_ROUTE + text).limits
        assert limits == Limits(head_bytes=16384, client_idle_s=120.0)

    def test_redact(self) -> None:
        """Extra names are kept as tuples, headers in lower case."""
        redact = loaded(ONE_ROUTE + "redact: {headers: [X-Key, on], query: sid}\n").redact
        assert redact == Redaction(headers=("x-key", "on"), query=("sid",))

    def test_cassettes(self) -> None:
        """Durability and permissions stand in one section of the file."""
        config = loaded(ONE_ROUTE + "cassettes: {durability: disk, file_mode: 0644}\n")
        assert (config.durability, config.file_mode) == ("disk", 0o644)

    @pytest.mark.parametrize("section", ["limits", "redact", "log", "cassettes"])
    def test_empty_section(self, section: str) -> None:
        """A section of which all is commented out is as good as none."""
        assert loaded(f"{ONE_ROUTE}{section}:\n") == loaded()

    def test_aliases(self) -> None:
        """A value may be written once and used in many places."""
        text = (
            "reverse:\n"
            "  - {target: http://a.example, match: &match {query: [ts]}}\n"
            "  - {target: http://b.example, match: *match}\n"
        )
        assert [route.match.query for route in loaded(text).reverse] == [("ts",), ("ts",)]


class TestProblems:
    def test_a_line_each(self) -> None:
        """All problems are reported at once: position, key path, value and what is allowed."""
        text = (
            "listen: example.com\n"
            "limits:\n"
            "  head_bytes: -1\n"
            "reverse:\n"
            "  - target: http://a.example\n"
            "  - target: ftp://b.example\n"
        )
        lines = refused(text, {"BUFFR_LOG_FORMAT": "xml"}, {"data_dir": ""})
        assert lines == [
            "s.yaml:1: listen: 'example.com' must be an IP address or localhost",
            (
                "s.yaml:3: limits.head_bytes: '-1' must be a number of bytes, "
                "or a size like 64KiB, 1MiB, 10MB, from 128 to 16MiB"
            ),
            (
                "s.yaml:6: reverse[1].target: 'ftp://b.example' does not begin with http:// or "
                "https://; must be http://HOST or https://HOST, optionally with :PORT and "
                "/BASE/PATH"
            ),
            "BUFFR_LOG_FORMAT: log.format: 'xml' must be text or json",
            "--data-dir: data_dir: '' must be a path",
        ]

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("listn: ::1\n", "s.yaml:2: listn: unknown key; did you mean 'listen'?"),
            ("limits: {head_byte: 9}\n", "s.yaml:2: limits.head_byte: unknown key; did you mean"),
            ("zzz: {}\n", "s.yaml:2: zzz: unknown key; must be one of data_dir, listen"),
            ("5: x\n", "s.yaml:2: 5: unknown key"),
            ("? [a]\n: x\n", "s.yaml:2: a key must be a word"),
            ("listen: ::1\nlisten: ::1\n", "s.yaml:3: listen: given twice, first at s.yaml:2"),
            ("limits: {head_s: 1, head_s: 2}\n", "s.yaml:2: limits.head_s: given twice"),
            ("<<: {log: {}}\n", "s.yaml:2: '<<': merge keys are not supported"),
            ("limits: 5\n", "s.yaml:2: limits: must be a mapping with head_bytes"),
            ("log: text\n", "s.yaml:2: log: must be a mapping with format"),
            ("listen: [x]\n", "s.yaml:2: listen: is a list; must be an IP"),
            ("listen: {a: b}\n", "s.yaml:2: listen: is a mapping; must be an IP"),
            ("listen:\n", "s.yaml:2: listen: has no value; must be an IP"),
            ("redact: {headers: {a: b}}\n", "s.yaml:2: redact.headers: is a mapping; must be"),
            ("data_dir: !!python/object:os.system x\n", "s.yaml:2: data_dir: tags are not"),
            ("data_dir: !x [1]\n", "s.yaml:2: data_dir: tags are not supported"),
            (
                "limits: &a {head_s: *a}\n",
                "s.yaml:2: limits.head_s: an alias inside its own anchor",
            ),
        ],
    )
    def test_structure(self, text: str, line: str) -> None:
        """What is in the wrong place is refused there, once."""
        lines = refused(ONE_ROUTE + text)
        assert len(lines) == 1
        assert lines[0].startswith(line)

    def test_unknown_variable(self) -> None:
        """An unknown variable does not prevent the start; it is reported without its value."""
        config = loaded(environ={"BUFFR_LISTN": "s3cret", "BUFFR_2_HOST": "x", "OTHER": "x"})
        assert config.warnings == (
            "BUFFR_2_HOST: unknown variable, not used; did you mean 'BUFFR_1_PORT'?",
            "BUFFR_LISTN: unknown variable, not used; did you mean 'BUFFR_LISTEN'?",
        )

    def test_unknown_flag(self) -> None:
        """A flag that the command line hands on by a wrong name is refused."""
        assert refused(flags={"data-dir": "d"}) == [
            "--data-dir: unknown flag; did you mean 'data_dir'?"
        ]


class TestFile:
    def test_missing(self, tmp_path: Path) -> None:
        """A file that was named and is not there is an error that names it."""
        path = tmp_path / "no.yaml"
        with pytest.raises(ConfigError) as caught:
            load(path, {}, {"target": "http://a.example"})
        assert str(caught.value) == f"{path}: cannot be read: No such file or directory"

    def test_directory(self, tmp_path: Path) -> None:
        """A directory is not a settings file."""
        with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
            load(tmp_path, {}, {"target": "http://a.example"})

    def test_impossible_name(self) -> None:
        """Not even a NUL in the name makes a traceback."""
        with pytest.raises(ConfigError, match="is not a file name"):
            load(Path("a\0b"), {}, {"target": "http://a.example"})

    @pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeff", "{}"])
    def test_empty(self, text: str) -> None:
        """An empty file sets nothing."""
        assert loaded(text, flags={"target": "http://a.example"}).listen == "127.0.0.1"

    def test_byte_order_mark(self) -> None:
        """Editors on Windows put a mark in front of UTF-8."""
        assert loaded("\ufeff" + ONE_ROUTE) == loaded()

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("a: [1\nb: 2\n", "s.yaml:2:2: not YAML: expected ',' or ']', but got ':'"),
            ("a: b: c\n", "s.yaml:1:5: not YAML: mapping values are not allowed here"),
            ("\ta: 1\n", "s.yaml:1:1: not YAML: found character '\\\\t' that cannot start"),
            ("a: 'x\n", "s.yaml:2:1: not YAML: found unexpected end of stream"),
            ("a: *s3cret\n", "s.yaml:1:4: not YAML: found undefined alias"),
            ("a: 1\n---\nb: 2\n", "s.yaml:2:1: not YAML: but found another document"),
            ("a: 1\nb\0c: 2\n", "s.yaml:2:2: not YAML: a character that YAML forbids"),
            ('a: "\\U00110000"\n', "s.yaml:1: not YAML: an escape for an invalid character"),
            ('a: "\\ud800"\n', "s.yaml:1: a: an escape for an invalid character"),
            (b"a: 1\nb: \xff\n", "s.yaml:2: is not UTF-8"),
            ("[" * 5000, "s.yaml:1: nested too deep"),
            ("- a\n", "s.yaml:1: must be a mapping of settings, such as 'reverse:'"),
            ("true\n", "s.yaml:1: must be a mapping of settings, such as 'reverse:'"),
            ("#" * 2**20 + "\n", "s.yaml: is larger than 1 MiB, the limit for settings"),
        ],
    )
    def test_unreadable(self, text: str | bytes, line: str) -> None:
        """Text that is not YAML, or not settings, is reported in one line with its position."""
        lines = refused(text)
        assert lines[0].startswith(line)
        assert len(lines) <= 2
        assert "s3cret" not in lines[0]

    def test_aliases_of_aliases(self) -> None:
        """A billion laughs are reported as quickly as one."""
        rows = ["a0: &a0 [x]"]
        rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
        assert len(refused("\n".join(rows))) == 30

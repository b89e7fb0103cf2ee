"""Log lines go where the settings of reference-api-buddy say."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogLevel

from buffr.config.api_buddy import read_api_buddy
from buffr.embedded.logs import configured, get_logger, line_writer
from buffr.errors import ConfigError
from buffr.log import say


@pytest.fixture(autouse=True)
def quiet_afterwards() -> Iterator[None]:
    yield
    configure(enable_console=False)


def configure(**given: Any) -> logging.Logger:
    return configured(read_api_buddy({"logging": given}).log)


LINES = (
    'time=1 level=INFO msg="GET http://a/%d" status=200\n'
    'time=1 level=WARN msg="GET http://a/%s" status=599\n'
    'time=1 level=INFO msg="GET http://a/3" status=200\n'
)


class TestLinesOfOneTurn:
    """Where only the console wants them they are written together, each as its record would be."""

    @pytest.mark.parametrize(
        "form", ["%(levelname)s %(message)s.", "%(message)s %(message)s", "%(message)-70s|"]
    )
    def test_each_is_as_its_record(self, capsys: pytest.CaptureFixture[str], form: str) -> None:
        line_writer(get_logger_of(configure(format=form)))(LINES)
        together = capsys.readouterr().out
        logger = get_logger_of(configure(format=form))
        logger.addFilter(lambda _: True)
        try:
            line_writer(logger)(LINES)
        finally:
            logger.filters.clear()
        assert together == capsys.readouterr().out
        assert len(together.splitlines()) == 3

    def test_a_handler_of_the_program_gets_records(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        logger = configure(format="%(message)s")
        handler = BufferingHandler(10)
        logger.addHandler(handler)
        try:
            line_writer(get_logger_of(logger))(LINES)
        finally:
            logger.removeHandler(handler)
        assert [record.levelname for record in handler.buffer].count("INFO") == 2
        assert len(handler.buffer) == 3
        assert len(capsys.readouterr().out.splitlines()) == 3

    def test_levels_count(self, capsys: pytest.CaptureFixture[str]) -> None:
        line_writer(get_logger_of(configure(level="WARNING", format="%(message)s")))(LINES)
        assert capsys.readouterr().out == 'msg="GET http://a/%s" status=599\n'


def get_logger_of(logger: logging.Logger) -> logging.Logger:
    return logger.getChild("core.proxy")


class TestPlaces:
    def test_the_console_is_standard_output(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure(format="%(levelname)s %(name)s %(message)s")
        get_logger("mine").info("hello")
        assert capsys.readouterr() == ("INFO api_buddy.mine hello\n", "")

    def test_without_a_console_nothing_is_written_there(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        configure(enable_console=False).error("said to nobody")
        assert capsys.readouterr() == ("", "")

    def test_a_file_is_begun_anew_when_it_is_full(self, tmp_path: Path) -> None:
        path = tmp_path / "x.log"
        logger = configure(
            enable_console=False, enable_file=True, file_path=str(path), max_file_size=100,
            backup_count=2, format="%(message)s",
        )  # fmt: skip
        for number in range(30):
            logger.info("line %d", number)
        assert path.read_text().endswith("line 29\n")
        assert sorted(one.name for one in tmp_path.iterdir()) == ["x.log", "x.log.1", "x.log.2"]

    def test_a_file_that_cannot_be_opened_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"logging\.file_path .*: cannot be opened"):
            configure(enable_file=True, file_path=str(tmp_path / "no" / "x.log"))

    def test_a_parent_s_handlers_get_the_lines_once(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        parent = logging.getLogger("program")
        handler = BufferingHandler(10)
        parent.addHandler(handler)
        try:
            configure(parent_logger="program").warning("hello")
        finally:
            parent.removeHandler(handler)
        assert [record.name for record in handler.buffer] == ["program.api_buddy"]
        assert capsys.readouterr().out == ""

    def test_configuring_again_adds_no_second_handler(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for _ in range(3):
            configure(format="%(message)s")
        get_logger("x").warning("once")
        assert capsys.readouterr().out == "once\n"


class TestLines:
    def test_the_level_decides(self, capsys: pytest.CaptureFixture[str]) -> None:
        logger = configure(level="WARNING", format="%(message)s")
        line_writer(logger)("time=1 level=INFO msg=one\ntime=1 level=ERROR msg=two\n")
        say(LogLevel.info, "quiet")
        say(LogLevel.warn, "loud", why="because")
        assert capsys.readouterr().out == "msg=two\nloud why=because\n"

    def test_exchanges_are_a_record_each(self, capsys: pytest.CaptureFixture[str]) -> None:
        line_writer(configure(format="%(message)s"))(
            "time=1 level=INFO msg=100%\ntime=1 level=INFO msg=two\n"
        )
        assert capsys.readouterr().out == "msg=100%\nmsg=two\n"

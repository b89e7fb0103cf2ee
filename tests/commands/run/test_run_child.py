"""Commands that cannot be run: the exit code, and why."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from buffr.commands.run.child import CannotStart, started
from buffr.commands.run.session import is_needed


class TestCannotStart:
    @pytest.mark.parametrize(
        ("command", "code", "words"),
        [
            ("no-such-command", 127, "command not found"),
            ("./none", 127, "command not found"),
            ("./", 126, "Permission denied"),
            ("./plain", 126, "Permission denied"),
            ("./text", 126, "neither a program nor a script"),
            ("./script", 126, "interpreter"),
            ("text", 127, "command not found"),
        ],
    )
    def test_code_and_reason(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        command: str,
        code: int,
        words: str,
    ) -> None:
        """As shells have it: 127 for what is not there, 126 for what cannot be run."""
        monkeypatch.chdir(tmp_path)
        for name, text in (("text", "words\n"), ("script", "#!/no/such/interpreter\n")):
            Path(name).write_text(text)
            Path(name).chmod(0o755)
        Path("plain").write_text("")
        Path("plain").chmod(0o644)
        with pytest.raises(CannotStart, match=words) as caught:
            started([command], os.environ)
        assert caught.value.code == code
        assert "\n" not in str(caught.value)


class TestNeed:
    """The proxy is put together when somebody asks for it, or the command goes on."""

    def test_a_command_that_ended_and_asked_for_nothing(self) -> None:
        child = started(["true"], os.environ)
        child.wait()
        with socket.create_server(("127.0.0.1", 0)) as opened:
            assert not is_needed(child, (opened,))
        assert child.ended.code == 0

    def test_a_connection_that_waits(self) -> None:
        """Of a program that the command has left running, say."""
        child = started(["true"], os.environ)
        child.wait()
        with (
            socket.create_server(("127.0.0.1", 0)) as opened,
            socket.create_connection(opened.getsockname()),
        ):
            assert is_needed(child, (opened,))

    def test_a_command_that_goes_on(self) -> None:
        child = started(["sleep", "60"], os.environ)
        try:
            with socket.create_server(("127.0.0.1", 0)) as opened:
                assert is_needed(child, (opened,))
        finally:
            child.send(signal.SIGKILL)
        assert child.ended.code == 128 + signal.SIGKILL

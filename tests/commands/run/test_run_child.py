"""Commands that cannot be run: the exit code, and why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buffr.commands.run.child import CannotStart, Child


class TestCannotStart:
    @pytest.mark.parametrize(
        ("command", "code", "words"),
        [
            ("no-such-command", 127, "command not found"),
            ("./none", 127, "command not found"),
            ("./", 126, "Permission denied"),
            ("./plain", 126, "Permission denied"),
            ("./text", 126, "no program"),
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
            Child.start([command], os.environ)
        assert caught.value.code == code
        assert "\n" not in str(caught.value)

"""Whether a file could be written is known before it must be, and leaves no trace."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from buffr.stores.writable import check_beside, check_directory, check_file, why_not

_AS_NOBODY = """
import os, sys
from pathlib import Path
from buffr.stores.writable import check_beside, check_directory, check_file, why_not
path = Path(sys.argv[2])
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
try:
    globals()[sys.argv[1]](path)
except OSError as error:
    print(why_not(error))
"""


@contextmanager
def mounted(directory: Path, options: str) -> Iterator[Path]:
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def state_of(directory: Path) -> dict[str, tuple[int, int, int]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_ctime_ns, path.stat().st_size)
        for path in (directory, *directory.rglob("*"))
    }


def as_nobody(check: str, path: Path) -> str:
    """The obstacle for an ordinary user."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    for directory in path.parents:  # pytest keeps its own closed
        if directory.stat().st_uid == 0 and directory.stat().st_mode & 0o005 == 0:
            directory.chmod(0o711)
    run = [sys.executable, "-c", _AS_NOBODY, check, str(path)]
    done = subprocess.run(run, capture_output=True, check=True, text=True)
    return done.stdout.strip()


class TestWhatCanBeWritten:
    @pytest.mark.parametrize("name", ["new.json", "old.json", "link.json"])
    def test_is_left_as_it_was(self, tmp_path: Path, name: str) -> None:
        """No file, no time, no size changes.

        A program that watches the directory is not notified.
        """
        (tmp_path / "old.json").write_bytes(b"{}")
        (tmp_path / "link.json").symlink_to("old.json")
        before = state_of(tmp_path)
        check_file(tmp_path / name)
        check_file(tmp_path / name, replaces=True)
        check_beside(tmp_path / name)
        check_directory(tmp_path)
        assert state_of(tmp_path) == before

    def test_a_directory_that_cannot_have_files_without_names(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """NFS and systems other than Linux: the file is gone when the check is over."""
        monkeypatch.delattr(os, "O_TMPFILE")
        check_directory(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_a_file_alone_in_a_directory_that_is_closed(self, tmp_path: Path) -> None:
        """As where a container has a single file mounted; but it cannot be replaced."""
        directory = tmp_path / "closed"
        directory.mkdir()
        path = directory / "api.json"
        path.touch()
        path.chmod(0o666)
        directory.chmod(0o711)
        assert as_nobody("check_file", path) == ""
        assert "Permission denied" in as_nobody("check_beside", path)


class TestWhatCannot:
    def test_a_directory_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError) as caught:
            check_file(tmp_path / "none" / "api.json")
        assert why_not(caught.value) == f"No such file or directory ({tmp_path})"

    def test_a_file_in_the_place_of_a_directory(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(NotADirectoryError):
            check_file(tmp_path / "file" / "api.json")

    def test_a_directory_in_the_place_of_a_file(self, tmp_path: Path) -> None:
        with pytest.raises(IsADirectoryError):
            check_file(tmp_path)

    def test_somebody_elses_directory(self, tmp_path: Path) -> None:
        """Created for root by a container engine, for example. The error names the owner."""
        directory = tmp_path / "cassettes"
        directory.mkdir(mode=0o755)
        assert as_nobody("check_file", directory / "api.json") == (
            f"Permission denied ({directory} belongs to user 0 and has mode 0755; "
            "buffr runs as user 65534)"
        )

    @pytest.mark.parametrize("check", ["check_file", "check_beside"])
    def test_somebody_elses_file(self, tmp_path: Path, check: str) -> None:
        directory = tmp_path / "cassettes"
        directory.mkdir()
        directory.chmod(0o777)
        path = directory / "api.json"
        path.touch(mode=0o644)
        assert f"Permission denied ({path} belongs to user 0" in as_nobody(check, path)

    def test_a_full_disk(self, tmp_path: Path) -> None:
        """Whether or not the file is there, and has room in its last block."""
        with mounted(tmp_path / "disk", "size=256k") as disk:
            (disk / "old.json").write_bytes(b"{}")
            check_file(disk / "old.json")
            with pytest.raises(OSError, match="No space"):
                (disk / "ballast").write_bytes(b"x" * 300_000)
            for name in ("old.json", "new.json"):
                with pytest.raises(OSError, match="No space left on device") as caught:
                    check_file(disk / name)
                assert caught.value.errno == errno.ENOSPC
            assert {path.name for path in disk.iterdir()} == {"old.json", "ballast"}

    def test_a_disk_without_room_for_more_files(self, tmp_path: Path) -> None:
        with mounted(tmp_path / "disk", "nr_inodes=4") as disk:
            for number in range(3):
                (disk / str(number)).touch()
            with pytest.raises(OSError, match="No space left on device"):
                check_file(disk / "new.json")

    def test_a_full_disk_behind_a_single_file(self, tmp_path: Path) -> None:
        """If it is mounted into a directory with space, the file's own file system counts."""
        with mounted(tmp_path / "disk", "size=64k") as disk:
            (disk / "api.json").write_bytes(b"{}")
            with pytest.raises(OSError, match="No space"):
                (disk / "ballast").write_bytes(b"x" * 300_000)
            path = tmp_path / "api.json"
            path.touch()
            subprocess.run(["mount", "--bind", str(disk / "api.json"), str(path)], check=True)
            try:
                with pytest.raises(OSError, match="No space left on device"):
                    check_file(path)
            finally:
                subprocess.run(["umount", str(path)], check=True)

    def test_a_quota(self, tmp_path: Path) -> None:
        with mounted(tmp_path / "disk", "usrquota,usrquota_block_hardlimit=64k") as disk:
            disk.chmod(0o777)
            assert "Disk quota exceeded" in as_nobody("check_directory", disk)

    def test_a_read_only_mount(self, tmp_path: Path) -> None:
        with mounted(tmp_path / "disk", "size=256k") as disk:
            (disk / "old.json").write_bytes(b"{}")
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            for name in ("old.json", "new.json"):
                for check in (check_file, check_beside):
                    with pytest.raises(OSError, match="Read-only file system"):
                        check(disk / name)

    def test_a_limit_on_the_size_of_files(self, tmp_path: Path) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            with pytest.raises(OSError, match="File too large"):
                check_directory(tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    @pytest.mark.parametrize(("flag", "what"), [("i", "api.json"), ("a", "api.json"), ("i", ".")])
    def test_an_immutable_or_append_only_file(self, tmp_path: Path, flag: str, what: str) -> None:
        """Not even root writes there."""
        path = tmp_path / "api.json"
        path.touch()
        command = ["chattr", f"+{flag}", str(tmp_path / what)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("this file system, or this user, has no such attributes")
        try:
            with pytest.raises(PermissionError) as caught:
                check_file(path if what != "." else tmp_path / "new.json")
            assert "immutable or append-only" in why_not(caught.value)
        finally:
            subprocess.run(["chattr", f"-{flag}", str(tmp_path / what)], check=True)

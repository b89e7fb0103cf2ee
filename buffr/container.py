"""``python -m buffr.container``: the entry point of the image. It settles whose files these are.

A container that is started as a certain user runs as that one. One that is
started as root (``user: root`` in a compose file) runs as the owner of its
data directory, so that cassettes belong to whoever has them on the host.
Two kinds of root need a second look:

- A Docker daemon makes a missing directory of the host for root. So an empty
  directory of root's is handed to the owner of ``/owner``, a file that is
  mounted for this, or to the user of the image where there is none.
- In a user namespace (rootless Docker, Podman) root is the user on the host
  who runs it, and nothing is to be settled.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import frozen

__all__ = ["IMAGE_OWNER", "Owner", "Places", "become", "enter", "owner_of", "settle"]


@frozen
class Owner:
    """Whose a file is, by number."""

    uid: int
    gid: int

    @classmethod
    def of(cls, path: Path) -> Owner:
        """Raises ``OSError``."""
        status = path.lstat()
        return cls(status.st_uid, status.st_gid)

    @property
    def is_root(self) -> bool:
        return self.uid == 0


IMAGE_OWNER = Owner(1000, 1000)
"""The user of the image."""

_EVERYBODY = [b"0", b"0", b"4294967295"]


@frozen
class Places:
    """Where the image has things.

    ``private`` are directories for buffr's CA alone; whatever is in them is
    handed on with them. ``uid_map`` says whether root is the host's.
    """

    data: Path = Path("/data")
    private: tuple[Path, ...] = (Path("/ca"), Path("/ca-key"))
    owner: Path = Path("/owner")
    uid_map: Path = Path("/proc/self/uid_map")

    @property
    def root_is_real(self) -> bool:
        """Whether root in here is root on the host, as far as files go."""
        try:
            return self.uid_map.read_bytes().split() == _EVERYBODY
        except OSError:
            return True


def owner_of(places: Places) -> Owner:
    """Whom buffr runs as when it is started as root. Raises ``OSError``."""
    data = Owner.of(places.data)
    if not data.is_root or not places.root_is_real or any(places.data.iterdir()):
        return data
    with suppress(OSError):
        return Owner.of(places.owner)
    return IMAGE_OWNER


def settle(places: Places) -> Owner:
    """Hand the directories to whom buffr runs as, and return that.

    Where that cannot be (a file system without owners), the data directory's
    owner stays. Raises ``OSError``.
    """
    owner = owner_of(places)
    try:
        _hand_over(places.data, owner)
    except OSError:
        owner = Owner.of(places.data)
    for path in _private(places):
        with suppress(OSError):  # mounted read-only, say, by whoever has a CA already
            _hand_over(path, owner)
    return owner


def _private(places: Places) -> Iterator[Path]:
    for directory in places.private:
        with suppress(OSError):
            yield from directory.iterdir()
            yield directory


def _hand_over(path: Path, owner: Owner) -> None:
    if Owner.of(path) != owner and not stat.S_ISLNK(path.lstat().st_mode):
        os.chown(path, owner.uid, owner.gid, follow_symlinks=False)


def become(owner: Owner) -> None:
    """Give root's rights up for good. Raises ``OSError``."""
    os.setgroups([])
    os.setgid(owner.gid)
    os.setuid(owner.uid)
    os.environ["HOME"] = "/"  # not root's any more


def enter(places: Places) -> None:
    """Become whom buffr runs as, where this is root. Exits with 1 and a line if it cannot."""
    if os.geteuid() != 0:
        return
    try:
        owner = settle(places)
        if not owner.is_root:
            become(owner)
        elif places.root_is_real:
            sys.stderr.write(f"buffr: runs as root, since the files in {places.data} are root's\n")
    except OSError as error:
        sys.stderr.write(
            f"buffr: root cannot become the owner of {places.data}: {error.strerror}; give the "
            "container the capabilities CHOWN, SETGID and SETUID, or start it with --user\n"
        )
        sys.exit(1)


def main(arguments: Sequence[str]) -> None:
    """Become the right user, and then ``buffr``, in the same process."""
    enter(Places())
    buffr = str(Path(sys.executable).with_name("buffr"))
    os.execv(buffr, [buffr, *arguments])  # noqa: S606  # no shell, and as the same process


if __name__ == "__main__":
    main(sys.argv[1:])

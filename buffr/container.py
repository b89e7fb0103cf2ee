"""``python -m buffr.container``: the entry point of the image. It chooses the owner of files.

A container that is started as a certain user runs as that user. One that is
started as root (``user: root`` in a compose file) runs as the owner of its
data directory, so that cassettes belong to the same user as on the host.
There are two special cases:

- A Docker daemon creates a missing directory on the host as root. So an empty
  directory of root's is given to the owner of ``/owner``, a file that is
  mounted for this purpose, or else to the image's user.
- In a user namespace (rootless Docker, Podman) root is the user on the host
  who runs it, and nothing needs to be changed.
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
    """The numeric owner of a file."""

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
    """Paths in the image.

    ``private`` are directories for buffr's CA only; their content is handed
    over with them. ``uid_map`` shows whether root is the host's.
    """

    data: Path = Path("/data")
    private: tuple[Path, ...] = (Path("/ca"), Path("/ca-key"))
    owner: Path = Path("/owner")
    uid_map: Path = Path("/proc/self/uid_map")

    @property
    def root_is_real(self) -> bool:
        """Whether root in the container is root on the host, as far as files are concerned."""
        try:
            return self.uid_map.read_bytes().split() == _EVERYBODY
        except OSError:
            return True


def owner_of(places: Places) -> Owner:
    """The user as which buffr runs if it is started as root. Raises ``OSError``."""
    data = Owner.of(places.data)
    if not data.is_root or not places.root_is_real or any(places.data.iterdir()):
        return data
    with suppress(OSError):
        return Owner.of(places.owner)
    return IMAGE_OWNER


def settle(places: Places) -> Owner:
    """Hand the directories over to the user as which buffr runs, and return it.

    If that is not possible (a file system without owners), it is the data
    directory's current owner. Raises ``OSError``.
    """
    owner = owner_of(places)
    try:
        _hand_over(places.data, owner)
    except OSError:
        owner = Owner.of(places.data)
    for path in _private(places):
        with suppress(OSError):  # may be mounted read-only, with an existing CA
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
    """Drop root privileges permanently. Raises ``OSError``."""
    os.setgroups([])
    os.setgid(owner.gid)
    os.setuid(owner.uid)
    os.environ["HOME"] = "/"  # not root's any more


def enter(places: Places) -> None:
    """Become the user as which buffr runs, if this is root. Exits with 1 and a line on failure."""
    if os.geteuid() != 0:
        return
    try:
        owner = settle(places)
        if not owner.is_root:
            become(owner)
        elif places.root_is_real:
            sys.stderr.write(f"buffr: running as root, the owner of the files in {places.data}\n")
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

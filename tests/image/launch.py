"""Becomes a container's process: run in namespaces of its own, by ``containers.py``.

    python launch.py start SPEC    mount what the container has, and then as "join"
    python launch.py join SPEC     enter its root, give up rights, and run the command

SPEC is a file with the JSON of a ``containers.Spec``. It stands alone, as
everything that it needs must be imported before the root changes.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_LAST_CAPABILITY = Path("/proc/sys/kernel/cap_last_cap")
_NODES = ("null", "zero", "full", "random", "urandom", "tty")
_CAPABILITIES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
)
"""By their numbers (linux/capability.h); those after them are never given."""

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def mounted(spec: dict[str, Any]) -> None:
    """Mount the container's root, and what is in it; the places are there already."""
    root = spec["root"]
    mount("--rbind", root, root)
    mount("-t", "proc", "proc", f"{root}/proc")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", f"{root}/dev")
    for name in _NODES:
        Path(f"{root}/dev/{name}").touch()
        mount("--bind", f"/dev/{name}", f"{root}/dev/{name}")
    Path(f"{root}/dev/fd").symlink_to("/proc/self/fd")
    for target in spec["tmpfs"]:
        mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", f"{root}{target}")
    for source, target, read_only in spec["mounts"]:
        mount("--bind", source, f"{root}{target}")
        if read_only:
            mount("-o", "remount,bind,ro", f"{root}{target}")
    if spec["read_only"]:
        mount("-o", "remount,bind,ro", root)


def without_rights(spec: dict[str, Any]) -> None:
    """Keep the capabilities that the container has, and become its user."""
    kept = {_CAPABILITIES.index(name) for name in spec["capabilities"]}
    for number in range(int(_LAST_CAPABILITY.read_text()) + 1):
        if number not in kept and _prctl(_PR_CAPBSET_DROP, number, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "PR_CAPBSET_DROP")
    uid, gid = spec["user"]
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if spec["no_new_privileges"] and _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")


def main(step: str, spec: dict[str, Any]) -> None:
    if step == "start":
        mounted(spec)
    os.chroot(spec["root"])
    os.chdir(spec["directory"])
    without_rights(spec)
    os.execvpe(spec["command"][0], spec["command"], spec["environment"])


if __name__ == "__main__":
    main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))

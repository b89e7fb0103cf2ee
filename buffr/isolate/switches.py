"""Why a system forbids a namespace, and which switch of it would allow one."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from buffr.errors import BuffrError

__all__ = ["STEPS", "NoNamespace", "forbidden"]

STEPS = (
    "a user namespace",
    "identifiers in its user namespace",
    "a network namespace",
    "a mount namespace",
    "a process namespace",
    "mounts of its own",
    "a /proc of its own",
    "a loopback interface of its own",
    "nftables rules of its own",
    "an nftables log of its own",
    "sockets of its own",
    "files of its own",
)
"""What is made one after the other. Each has its own switch by which a system may forbid it."""

_LIMITS = {
    "a user namespace": "user.max_user_namespaces",
    "a network namespace": "user.max_net_namespaces",
    "a mount namespace": "user.max_mnt_namespaces",
    "a process namespace": "user.max_pid_namespaces",
}
_MODULES = {
    "nftables rules of its own": "nf_tables nft_chain_nat nft_redir nft_ct nft_log",
    "an nftables log of its own": "nfnetlink_log",
}
_DEBIAN, _UBUNTU = (
    "kernel.unprivileged_userns_clone",
    "kernel.apparmor_restrict_unprivileged_userns",
)
_FILTERED = "Seccomp:\t2"

Read = Callable[[str], str]
"""The content of a file of /proc; empty if it cannot be read."""


class NoNamespace(BuffrError):
    """The system does not let this user have a namespace."""


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def forbidden(step: str, number: int, read: Read = _read) -> NoNamespace:
    """The error for a step that has failed with an ``errno``, with what would help."""
    why = os.strerror(number).lower()
    return NoNamespace(f"the command cannot have {step}: {why}", hint=_hint(step, number, read))


def _hint(step: str, number: int, read: Read) -> str:
    limit = _LIMITS.get(step)
    if number == errno.ENOSPC and limit is not None:
        found = read("/proc/sys/" + limit.replace(".", "/"))
        return f"the limit is {limit}={found or '?'}: `sysctl {limit}=10000` as root raises it"
    if number in (errno.EINVAL, errno.ENOSYS):
        return "this kernel was built without it"
    if step in _MODULES:
        return f"the kernel may lack modules: `modprobe -a {_MODULES[step]}` as root loads them"
    if number not in (errno.EPERM, errno.EACCES):
        return ""
    if read(_path(_DEBIAN)) == "0":
        return f"{_DEBIAN} is 0: `sysctl {_DEBIAN}=1` as root allows it"
    if read(_path(_UBUNTU)) == "1":
        return (
            f"AppArmor forbids it, since {_UBUNTU} is 1: `sysctl {_UBUNTU}=0` as root allows it, "
            "or a profile with `userns,` for this Python"
        )
    if step == "a /proc of its own":
        return (
            "parts of /proc are hidden here, as in a container: "
            "`--security-opt systempaths=unconfined` shows them to one of Docker's"
        )
    if _FILTERED in read("/proc/self/status"):
        return (
            "a seccomp filter forbids it, as in a container: one of Docker's needs "
            "`--security-opt seccomp=unconfined --security-opt systempaths=unconfined`"
        )
    return "the system's policy for this user forbids it: SELinux, a chroot, or a sandbox around"


def _path(switch: str) -> str:
    return "/proc/sys/" + switch.replace(".", "/")

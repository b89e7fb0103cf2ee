"""What is said where a system forbids namespaces: the step, and the switch."""

from __future__ import annotations

import errno

import pytest

from buffr.isolate.switches import STEPS, forbidden

DEBIAN = {"/proc/sys/kernel/unprivileged_userns_clone": "0"}
UBUNTU = {"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"}
CONTAINER = {"/proc/self/status": "Name:\tpython\nSeccomp:\t2\n"}
NO_USERS = {"/proc/sys/user/max_user_namespaces": "0"}
NO_NETS = {"/proc/sys/user/max_net_namespaces": "0"}


class TestHints:
    @pytest.mark.parametrize(
        ("step", "number", "files", "words"),
        [
            ("a user namespace", errno.ENOSPC, NO_USERS, "user.max_user_namespaces=0"),
            ("a network namespace", errno.ENOSPC, NO_NETS, "sysctl user.max_net_namespaces="),
            ("a user namespace", errno.EPERM, DEBIAN, "kernel.unprivileged_userns_clone is 0"),
            ("a network namespace", errno.EPERM, UBUNTU, "AppArmor forbids it"),
            ("a user namespace", errno.EPERM, CONTAINER, "seccomp=unconfined"),
            ("a /proc of its own", errno.EPERM, CONTAINER, "systempaths=unconfined"),
            ("a user namespace", errno.EINVAL, {}, "built without"),
            ("nftables rules of its own", errno.EOPNOTSUPP, {}, "modprobe -a nf_tables"),
            ("an nftables log of its own", errno.ENOENT, {}, "nfnetlink_log"),
            ("a mount namespace", errno.EPERM, {}, "policy"),
        ],
    )
    def test_the_switch_is_named(
        self, step: str, number: int, files: dict[str, str], words: str
    ) -> None:
        error = forbidden(step, number, lambda path: files.get(path, ""))
        assert f"cannot have {step}" in error.message
        assert words in error.hint

    @pytest.mark.parametrize("step", STEPS)
    def test_every_step_has_a_message(self, step: str) -> None:
        for number in (errno.EPERM, errno.ENOSPC, errno.EIO):
            assert forbidden(step, number).message

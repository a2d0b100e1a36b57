"""What the kernel takes from the process that decodes untrusted bytes: the network, files, privileges. Linux only.

Each measure is taken where the system has it; what is missing is told, and the limits of the decoder hold without it:

- no new privileges (``prctl``), and nobody in place of root;
- a network namespace of its own (``unshare``; for users other than root inside a user namespace), in which no device is up, not
  even loopback;
- Landlock (``landlock_create_ruleset(2)``) with every right handled and no rule: no file can be opened, made or removed, no TCP
  port be bound or connected to, and no process outside be signaled.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from dataclasses import dataclass
from typing import Any

__all__ = ["Isolation", "drop_privileges", "isolate"]

_NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS of linux/prctl.h
_NOBODY = 65534
_NEW_USER, _NEW_NETWORK, _NEW_IPC, _NEW_UTS = 0x10000000, 0x40000000, 0x08000000, 0x04000000
_NAMESPACES = _NEW_NETWORK | _NEW_IPC | _NEW_UTS
_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # numbers of system calls on every architecture
_VERSION_ONLY = 1
# Rights on files by the version of Landlock that brought them: linux/landlock.h.
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_NETWORK_RIGHTS = {4: 0b11}  # bind and connect TCP
_SCOPES = {6: 0b11}  # abstract sockets, signals
_CAPABILITIES_VERSION = 0x20080522
_LIBC: Any = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Isolation:
    """Which measures are taken: ``network`` is a namespace of its own, ``files`` is Landlock."""

    network: bool
    files: bool

    @property
    def missing(self) -> tuple[str, ...]:
        """What the system did not grant, in words."""
        return (*(() if self.network else ("no network namespace",)), *(() if self.files else ("no Landlock",)))

    def as_number(self) -> int:
        """Return the measures as bits, for an exit code or a message between processes."""
        return self.network + 2 * self.files

    @classmethod
    def from_number(cls, number: int) -> Isolation:
        """Read the bits of ``as_number``."""
        return cls(bool(number & 1), bool(number & 2))

    def as_dict(self) -> dict[str, bool]:
        """Return plain values for JSON."""
        return {"network": self.network, "files": self.files}


def isolate() -> Isolation:
    """Give up network, files and privileges in this process, which must have one thread. Nothing can be taken back.

    Open descriptors stay usable. Returns what was granted; never raises.
    """
    network = os.geteuid() == 0 and _call("unshare", _NAMESPACES)
    drop_privileges()
    if not network and _call("unshare", _NEW_USER | _NAMESPACES):
        network = _drop_capabilities()  # a new user namespace begins with all of them, over itself
    return Isolation(network, _landlock())


def drop_privileges() -> None:
    """Gain none by any program, and be nobody instead of root, where the system lets a process do so."""
    _call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):  # a container without the right to change users has none to lose
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _drop_capabilities() -> bool:
    header = ctypes.create_string_buffer(struct.pack("<Ii", _CAPABILITIES_VERSION, 0))
    return _call("capset", header, ctypes.create_string_buffer(24))


def _landlock() -> bool:
    version = _system_call(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_ONLY)
    if version < 1:
        return False
    rights = [_sum(table, version) for table in (_FILE_RIGHTS, _NETWORK_RIGHTS, _SCOPES)]
    size = 8 * (1 + (version >= 4) + (version >= 6))
    ruleset = ctypes.create_string_buffer(struct.pack("<3Q", *rights))
    descriptor = _system_call(_CREATE_RULESET, ruleset, ctypes.c_size_t(size), 0)
    if descriptor < 0:
        return False
    try:
        return _system_call(_RESTRICT_SELF, descriptor, 0) == 0
    finally:
        os.close(descriptor)


def _sum(rights: dict[int, int], version: int) -> int:
    return sum(bits for since, bits in rights.items() if since <= version)


def _call(name: str, *arguments: Any) -> bool:
    """Call a function of the C library; False where it fails or does not exist."""
    function = getattr(_LIBC, name, None)
    return function is not None and function(*arguments) == 0


def _system_call(number: int, *arguments: Any) -> int:
    """Make a system call; -1 where it fails or the system is no Linux."""
    if os.uname().sysname != "Linux":
        return -1
    return int(_LIBC.syscall(ctypes.c_long(number), *arguments))

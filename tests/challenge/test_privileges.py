"""The process that decodes untrusted bytes can gain no privileges, and is nobody where it could be root."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from c2seg.challenge.decoder import _drop_privileges


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells in /proc")
def test_privileges_are_gone():
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        try:
            _drop_privileges()
            os.write(send, Path("/proc/self/status").read_bytes())
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive) as stream:
        status = stream.read()
    os.waitpid(child, 0)
    assert re.search(r"NoNewPrivs:\s*1", status)
    users = re.search(r"Uid:\s*(.*)", status)[1].split()
    expected = "65534" if os.geteuid() == 0 else str(os.geteuid())
    assert set(users) == {expected}
    if os.geteuid() == 0:
        assert set(re.search(r"Gid:\s*(.*)", status)[1].split()) == {"65534"}
        assert re.search(r"CapEff:\s*0+$", status, re.MULTILINE)

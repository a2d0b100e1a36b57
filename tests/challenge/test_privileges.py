"""The process that decodes untrusted bytes gains no privileges, and has neither network nor files where the kernel can."""

from __future__ import annotations

import encodings.idna  # noqa: F401  # what connecting would import, where no file can be opened any more
import json
import os
import re
import socket
import sys
import warnings
from pathlib import Path

import pytest

from c2seg.challenge import Decoder, check_submission, isolation
from c2seg.challenge import decoder as decoding
from c2seg.challenge.isolation import Isolation, drop_privileges, isolate
from helpers.submission_makers import pack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells in /proc")


def in_child(work):
    """Return what a function returns in a forked child."""
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        try:
            answer = work()
        except BaseException as error:
            answer = repr(error)
        os.write(send, json.dumps(answer).encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as stream:
        content = stream.read()
    os.waitpid(child, 0)
    return json.loads(content)


def refused(work):
    """Return the number of the error with which something is refused; 0: it works."""
    try:
        work()
    except OSError as error:
        return error.errno or -1
    return 0


def test_privileges_are_gone():
    def work():
        drop_privileges()
        return Path("/proc/self/status").read_text()

    status = in_child(work)
    assert re.search(r"NoNewPrivs:\s*1", status)
    users = re.search(r"Uid:\s*(.*)", status)[1].split()
    expected = "65534" if os.geteuid() == 0 else str(os.geteuid())
    assert set(users) == {expected}
    if os.geteuid() == 0:
        assert set(re.search(r"Gid:\s*(.*)", status)[1].split()) == {"65534"}
        assert re.search(r"CapEff:\s*0+$", status, re.MULTILINE)


@pytest.mark.parametrize("as_root", [True, False])
def test_network_files_and_capabilities_are_gone(tmp_path, as_root):
    """Also as a user who is not root: through a user namespace, whose capabilities are given up."""
    if as_root and os.geteuid():
        pytest.skip("the tests do not run as root")
    file = tmp_path / "file"
    file.write_text("x")
    file.chmod(0o644)

    with socket.create_server(("127.0.0.1", 0)) as server:

        def work():
            if not as_root and os.geteuid() == 0:
                os.setresuid(65534, 65534, 65534)
            status = Path("/proc/self/status").open()  # noqa: SIM115  # later no file can be opened
            granted = isolate()
            tries = {
                "connect": lambda: socket.create_connection(server.getsockname(), timeout=5).close(),
                "bind": lambda: socket.create_server(("127.0.0.1", 0)).close(),
                "send": lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", server.getsockname()),
                "read": file.read_text,
                "list": lambda: os.listdir("/"),
                "make": lambda: (tmp_path / "new").write_text("x"),
                "remove": file.unlink,
                "signal": lambda: os.kill(os.getppid(), 0),
            }
            return granted.as_dict(), {name: refused(attempt) for name, attempt in tries.items()}, status.read()

        granted, outcome, text = in_child(work)
    if not all(granted.values()):
        pytest.skip(f"this system grants {granted}")
    assert 0 not in outcome.values(), outcome
    assert re.search(r"CapEff:\s*0+$", text, re.MULTILINE)
    assert file.read_text() == "x"
    assert not (tmp_path / "new").exists()


def test_what_is_missing_is_told_and_archives_are_decoded(tmp_path, tile_set, files, caplog):
    path = tmp_path / "sub.zip"
    path.write_bytes(pack(files))
    with Decoder() as decoder:
        assert decoder.isolation is None
        checked = check_submission(path, tile_set, decoder)
        assert checked.isolation == decoder.isolation == Isolation(**checked.as_dict()["isolation"])
        assert bool(decoder.isolation.missing) == bool(caplog.messages)
        caplog.clear()
        decoder._note(Isolation(network=False, files=False))
        decoder._note(Isolation(network=False, files=False))
    assert caplog.messages == [
        "submissions are decoded with no network namespace and no Landlock: this system grants none"
    ]
    assert [Isolation.from_number(n).as_number() for n in range(4)] == [0, 1, 2, 3]


def test_a_system_without_any_of_it(monkeypatch):
    class Nothing:
        """A C library that has no such functions, and knows no such system calls."""

        @staticmethod
        def syscall(*arguments):
            return -1

    monkeypatch.setattr(isolation, "_LIBC", Nothing())
    granted = in_child(lambda: isolate().as_dict())
    assert granted == {"network": False, "files": False}


def test_a_child_that_gets_less_than_the_trial_decodes_nothing(tmp_path, tile_set, files, monkeypatch):
    """As where namespaces run out between the trial and the job."""
    path = tmp_path / "sub.zip"
    path.write_bytes(pack(files))
    job = {"tile_set": tile_set.as_dict(), "limits": {}}
    for granted, code in ((Isolation(True, True), 1), (Isolation(True, False), 0)):
        monkeypatch.setattr(decoding, "_confine", lambda limits: Isolation(True, False))
        receive, send = os.pipe()
        child = os.fork()
        if not child:
            os.close(receive)
            warnings.simplefilter("ignore")  # as where it starts as a program
            decoding._run(job, granted, os.open(path, os.O_RDONLY), send)
        os.close(send)
        with os.fdopen(receive, "rb") as stream:
            content = stream.read()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
        assert bool(content) is not bool(code)

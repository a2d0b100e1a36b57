"""Entry of a process that computes one call.

The parent starts it with its environment complete, so that numbers of threads are set before anything that reads them is
imported. The parent's main module is not imported here: scripts need no guard, and notebooks work.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from c2seg.errors import C2SegError
from c2seg.process import keep_freed_memory, set_up, stop_on_sigterm

if TYPE_CHECKING:
    from c2seg.benchmark.leases import Lease

__all__ = ["main"]

_LOOK_S = 2.0
_LEAST_SHARE = 0.002  # of a processor: this thread alone uses less


def main(descriptor: int) -> int:
    """Receive a pickled function and its arguments, call it, send the pickled answer; return the exit code.

    Answers are ``("done", result)``, ``("failed", message)`` for wrong input, ``("broken", traceback)`` for an internal
    error, and ``("stopped", None)`` after SIGTERM.
    """
    os.set_inheritable(descriptor, False)
    connection = Connection(descriptor)
    set_up()
    keep_freed_memory()
    stop_on_sigterm()
    try:
        work = connection.recv_bytes()
        function, arguments, lease = pickle.loads(work)
        threading.Thread(target=_follow, args=(connection, lease), daemon=True).start()
        answer, code = ("done", function(*arguments)), 0
    except KeyboardInterrupt:
        answer, code = ("stopped", None), 130
    except C2SegError as error:
        answer, code = ("failed", str(error)), 2
    except Exception:
        answer, code = ("broken", traceback.format_exc()), 1
    with suppress(BrokenPipeError):  # the parent has ended
        connection.send_bytes(pickle.dumps(answer))
    return code


def _follow(connection: Connection, lease: Lease | None) -> None:
    """Stop this process when its parent has ended, for whatever reason (nothing else is ever sent), or the lease has.

    Signs of life are given as long as it computes: one that hangs uses no processor.
    """
    looked, used, signs = time.monotonic(), 0.0, 0
    while not wait([connection], _LOOK_S if lease else None):
        assert lease is not None
        state = lease.state()
        if state == "passed on":
            os._exit(1)  # somebody else works here: nothing more is written
        if state == "withdrawn":
            break
        now, processor = time.monotonic(), time.process_time()
        if processor - used > _LEAST_SHARE * (now - looked):
            signs += 1
            lease.give_sign(signs)
        looked, used = now, processor
    os.kill(os.getpid(), signal.SIGTERM)

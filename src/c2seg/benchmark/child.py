"""Entry of a process that computes one call.

The parent starts it with its environment complete, so that numbers of threads are set before anything that reads them is
imported. The parent's main module is not imported here: scripts need no guard, and notebooks work.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import traceback
from multiprocessing.connection import Connection, wait
from typing import Any

from c2seg.errors import C2SegError
from c2seg.process import keep_freed_memory, set_up, stop_on_sigterm

__all__ = ["main"]


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
        threading.Thread(target=_follow, args=(connection,), daemon=True).start()
        answer, code = _call(work), 0
    except KeyboardInterrupt:
        answer, code = ("stopped", None), 130
    except C2SegError as error:
        answer, code = ("failed", str(error)), 2
    except Exception:
        answer, code = ("broken", traceback.format_exc()), 1
    connection.send_bytes(pickle.dumps(answer))
    return code


def _call(work: bytes) -> tuple[str, Any]:
    function, arguments = pickle.loads(work)
    return "done", function(*arguments)


def _follow(connection: Connection) -> None:
    """Stop this process when its parent has ended, for whatever reason: nothing else is ever sent."""
    wait([connection])
    os.kill(os.getpid(), signal.SIGTERM)

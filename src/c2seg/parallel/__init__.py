"""Independent tasks on the workers of a crew: processes of this machine, or those of a cluster that the user has.

A job is sent to every worker once; its tasks follow one by one, and the calling process alone stores their results. A worker
that dies or stalls is replaced, and its tasks are given to others.
"""

from __future__ import annotations

from c2seg.parallel.calls import Job, TaskFunction
from c2seg.parallel.crew import Crew, Limits, Worker, WorkerLostError
from c2seg.parallel.opening import open_crew
from c2seg.parallel.plain import ExecutorCrew, checked_executor
from c2seg.parallel.processes import LocalCrew
from c2seg.parallel.run import run_tasks
from c2seg.parallel.storing import Storing
from c2seg.parallel.terms import Terms
from c2seg.parallel.threads import ThreadCrew

__all__ = [
    "Crew",
    "ExecutorCrew",
    "Job",
    "Limits",
    "LocalCrew",
    "Storing",
    "TaskFunction",
    "Terms",
    "ThreadCrew",
    "Worker",
    "WorkerLostError",
    "checked_executor",
    "open_crew",
    "run_tasks",
]

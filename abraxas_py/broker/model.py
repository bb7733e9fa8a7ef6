"""The broker's nouns: `Job`, `Function`, `Peer`. They hold state and keep their own counts; `broker.py` changes them.

A job is in exactly one of six states:

    STORING   known, not to be given out before the journal has it  function.storing
    DELAYED   known, not to be given out before its instant        function.delayed
    QUEUED    in the queue of its function and priority            function.queues[priority].live
    WITHHELD  not to be given out during a drain: nobody waits     function.queues[priority].withheld
    RUNNING   assigned to one peer                                 function.running, peer.jobs
    ENDED     gone from every index; stale references are skipped

and a peer, as a worker, in one of four:

    AWAKE     will grab when it likes
    ASLEEP    sent PRE_SLEEP; listed in `sleepers` of each of its functions
    WOKEN     was sent NOOP and is expected to grab; counted in `woken` of each of its functions
    OVERDUE   was sent NOOP and did not grab in time; gets no second one, and its work is offered to others
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, Flag, auto
from itertools import islice
from math import inf

from abraxas_py.broker.policy import Policy
from abraxas_py.broker.schedule import Schedule
from abraxas_py.broker.timers import Timer
from abraxas_py.protocol.packets import Priority

__all__ = [
    "ASLEEP",
    "AWAKE",
    "DELAYED",
    "ENDED",
    "OVERDUE",
    "QUEUED",
    "RUNNING",
    "STORING",
    "WITHHELD",
    "WOKEN",
    "Function",
    "Job",
    "JobState",
    "Options",
    "Origin",
    "Outlet",
    "Peer",
    "Queue",
    "Right",
    "WorkerState",
]


FEW = 8  # jobs that are taken out of a queue one by one: some such searches cost as much as a sweep of all of it


@dataclass(frozen=True, slots=True)
class Options:
    """How a broker behaves, where that is a matter of taste; the defaults are gearmand's, except `worker_wakeup`."""

    job_retries: int = 0  # a job whose worker was lost this often fails; 0: it is queued again without limit
    round_robin: bool = False  # a worker's functions take turns, instead of the last registered one coming first
    worker_wakeup: float = inf  # sleepers woken for a job: as many as there is work (inf), every one (0), or this many
    wakeup_timeout: float = 0.1  # seconds: a worker that has not grabbed so long after its NOOP costs nobody a job
    has_exceptions: bool = False  # forward WORK_EXCEPTION to clients that did not ask for it
    fail_on_timeout: bool = False  # a job over its CAN_DO_TIMEOUT fails, instead of going to another worker
    max_functions: int = 100_000  # they stay until they are dropped, so somebody could fill the memory with names
    max_payload_bytes: int = 512 * 1024 * 1024  # of all jobs together; beyond it submissions are refused
    resident_bytes: int = 64 * 1024 * 1024  # beyond it, payloads that the journal has are not held in memory too
    policies: tuple[Policy, ...] = ()  # what becomes of background jobs that fail: the first that fits
    reserved: tuple[bytes, ...] = ()  # beginnings of function names that only the server's own program may register
    legacy_names: bool = False  # take function names with control characters and spaces, which can forge admin tables
    verbose: str = "ERROR"  # what the admin command `verbose` answers
    version: str = "1.1.20"  # what `version` answers: the gearmand that clients take us for
    pid: int = 0  # what `getpid` answers


class Right(Flag):
    """What a connection may do, besides asking."""

    SUBMIT = auto()  # jobs
    WORK = auto()  # register functions
    ADMINISTRATE = auto()  # change the server's state by text commands


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection comes from, and what follows from it."""

    address: str = "-"  # as the admin command `workers` shows it
    rights: Right = Right.SUBMIT | Right.WORK | Right.ADMINISTRATE
    is_own: bool = False  # part of the server's own program: may register reserved functions


class JobState(Enum):
    """See the module's docstring."""

    STORING = auto()
    DELAYED = auto()
    QUEUED = auto()
    WITHHELD = auto()
    RUNNING = auto()
    ENDED = auto()


class WorkerState(Enum):
    """See the module's docstring."""

    AWAKE = auto()
    ASLEEP = auto()
    WOKEN = auto()
    OVERDUE = auto()


# Takes the bytes of one message for a peer, to be sent after all before them.
Outlet = Callable[[bytes], None]

# Every job goes through them several times, and looking a member up in its class costs 0.3 µs in Python 3.11.
STORING, DELAYED, QUEUED, WITHHELD, RUNNING, ENDED = JobState
AWAKE, ASLEEP, WOKEN, OVERDUE = WorkerState


class Job:
    """One job, from its submission to its end."""

    __slots__ = (
        "clients",
        "data",
        "denominator",
        "function",
        "handle",
        "is_background",
        "key",
        "numerator",
        "priority",
        "reducer",
        "retries",
        "row",
        "schedule",
        "state",
        "timer",
        "unique",
        "worker",
    )

    def __init__(
        self, handle: bytes, function: Function, unique: bytes, data: bytes, priority: Priority, is_background: bool
    ) -> None:
        self.handle = handle
        self.function = function
        self.unique = unique  # as submitted, at most 64 bytes
        self.key = unique  # what coalesces: `unique`, or a digest of the payload where that is `-`; empty: nothing does
        self.data: bytes | None = data  # None: the journal has it, and memory is dear
        self.reducer: bytes | None = None  # given to workers that grab with GRAB_JOB_ALL
        self.priority = priority
        self.is_background = is_background  # runs whoever leaves
        self.clients: list[int] | tuple[()] = ()  # the peers that wait for it, one for each submission
        self.schedule: Schedule | None = None  # of a recurring job: after each run it is DELAYED again
        self.state = ENDED  # until it is put somewhere
        self.worker: Peer | None = None  # who runs it
        self.numerator = b"0"  # progress, as its worker reported it
        self.denominator = b"0"
        self.retries = 0  # how many of its workers were lost
        self.row = 0  # what the journal knows it by; 0: it does not
        self.timer: Timer | None = None  # its due time while DELAYED, its time limit while RUNNING


class Queue:
    """The jobs of one function and priority, first in first out.

    Jobs may leave from the middle (cancelled, abandoned) at no cost: they stay as stale entries, which are skipped, and
    swept out when they outnumber the live ones.
    """

    __slots__ = ("_jobs", "live", "withheld")

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self.live = 0  # how many of the entries are still queued
        self.withheld: dict[Job, None] = {}  # beside them: not to be given out before the drain is over

    @property
    def total(self) -> int:
        """How many jobs wait here."""
        return self.live + len(self.withheld)

    def append(self, job: Job) -> None:
        """Put a job at the end."""
        job.state = QUEUED
        self._jobs.append(job)
        self.live += 1

    def pop(self) -> Job:
        """Take the job that has waited longest; there must be one."""
        while (job := self._jobs.popleft()).state is not QUEUED:
            pass
        self.live -= 1
        return job

    def upcoming(self, count: int) -> list[Job]:
        """Those of the next `count` entries that are queued."""
        return [job for job in islice(self._jobs, count) if job.state is QUEUED]

    def ahead(self, position: int) -> Job | None:
        """The entry that has so many before it, if there is one."""
        return self._jobs[position] if position < len(self._jobs) else None

    def withhold(self, job: Job) -> None:
        """Put a job aside."""
        job.state = WITHHELD
        self.withheld[job] = None

    def withhold_queued(self, jobs: list[Job]) -> None:
        """Put aside jobs that are queued here. O(n): a stale entry of one that comes back would be its second."""
        for job in jobs:
            self.withhold(job)
        self.live -= len(jobs)
        if len(jobs) > FEW:
            self._sweep()
        else:
            for job in jobs:
                self._jobs.remove(job)

    def take_out(self, job: Job) -> None:
        """Take out a job that was put aside."""
        del self.withheld[job]

    def take_all(self) -> list[Job]:
        """Take out all jobs, the withheld ones last."""
        jobs = [*self.upcoming(len(self._jobs)), *self.withheld]
        self._jobs.clear()
        self.withheld.clear()
        self.live = 0
        return jobs

    def leave(self, job: Job) -> None:
        """Take a job out, wherever it stands."""
        assert job.state is QUEUED
        job.state = ENDED
        self.live -= 1
        if len(self._jobs) > 2 * self.live + 64:  # fewer than 64 are not worth the sweep
            self._sweep()

    def _sweep(self) -> None:
        self._jobs = deque(entry for entry in self._jobs if entry.state is QUEUED)


class Function:
    """A function that jobs can be submitted for. It stays known, and listed, until it is dropped."""

    __slots__ = (
        "delayed",
        "jobs",
        "max_queued",
        "name",
        "policy",
        "queues",
        "running",
        "sleepers",
        "storing",
        "woken",
        "workers",
    )

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.queues = (Queue(), Queue(), Queue())  # by Priority
        self.storing = 0  # how many jobs wait for the journal
        self.delayed = 0  # how many jobs wait for their instant
        self.running = 0
        self.workers = 0  # how many peers can do it
        self.sleepers: dict[Peer, None] = {}  # those of them that sleep, the longest asleep first
        self.woken = 0  # those of them with a NOOP on its way
        self.policy: Policy | None = None  # what becomes of its background jobs that fail
        self.max_queued = (0, 0, 0)  # by Priority: submissions are refused at this total; 0: no limit
        self.jobs: dict[bytes, Job] = {}  # by key: what a submission of the same key joins

    @property
    def queued(self) -> int:
        """How many jobs could be given out right now."""
        high, normal, low = self.queues
        return high.live + normal.live + low.live

    @property
    def total(self) -> int:
        """How many jobs there are, whatever they wait for, and running ones."""
        high, normal, low = self.queues  # written out: it is asked at each submission, where there is a limit
        withheld = len(high.withheld) + len(normal.withheld) + len(low.withheld)
        return high.live + normal.live + low.live + withheld + self.running + self.delayed + self.storing


class Peer:
    """One connection: a client, a worker, an administrator, or all of them at once."""

    __slots__ = (
        "abilities",
        "client_id",
        "id",
        "is_closed",
        "is_streaming",
        "jobs",
        "last_end",
        "may_submit",
        "may_work",
        "origin",
        "outlet",
        "pardoned",
        "send",
        "state",
        "text_only",
        "timer",
        "waiting",
        "wants_exceptions",
        "withhold",
    )

    def __init__(
        self, id: int, origin: Origin, wants_exceptions: bool, outlet: Outlet, withhold: Callable[[int], None]
    ) -> None:
        self.id = id
        self.origin = origin
        self.outlet = outlet  # the shell's
        self.withhold = withhold  # the shell's, told how many more bytes (or fewer) wait for the journal
        self.send = outlet  # what the broker calls with encoded messages: `outlet`, unless they have to wait
        self.may_submit = Right.SUBMIT in origin.rights  # asked for each job, and a flag takes 0.8 µs to test
        self.may_work = Right.WORK in origin.rights
        self.client_id = b""
        self.is_closed = False  # its connection is about to be closed: it is not heard any more
        self.wants_exceptions = wants_exceptions
        self.is_streaming = False
        self.text_only = False  # spoke something that is not ours: a packet after that is not taken (cross-protocol)
        # As a worker
        self.abilities: dict[Function, float] = {}  # with the time limit of each in seconds (inf: none), oldest first
        self.state = AWAKE
        self.timer: Timer | None = None  # while WOKEN: until when it has to grab
        self.jobs: dict[Job, None] = {}  # what it runs
        self.pardoned: dict[bytes, bool] = {}  # handles that were taken from it: late reports get no ERROR; see Broker
        self.last_end = b""  # the handle of the last kept job that it ended
        # As a client
        self.waiting: dict[Job, None] = {}  # the foreground jobs whose end it waits for

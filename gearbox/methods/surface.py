"""What each method takes, and whether it only looks: for those who offer the methods elsewhere than over Gearman."""

from __future__ import annotations

import attrs

from gearbox.methods import params

__all__ = ["SURFACE", "Surface"]


@attrs.frozen
class Surface:
    """`is_reading`: it changes nothing, so a reader may call it. `takes_list`: its params may be an array."""

    summary: str
    params: type = params.Nothing
    is_reading: bool = False
    takes_list: bool = False


SURFACE: dict[str, Surface] = {
    "queue": Surface("Queue a job", params.Queue),
    "queue_many": Surface("Queue a graph of jobs in one transaction", params.Token, takes_list=True),
    "cancel": Surface("End a job that nobody wants any more", params.Cancel),
    "retry": Surface("Queue a failed job anew, with what failed because of it", params.Retry),
    "reprioritise": Surface("Give a job that has not started another priority", params.Reprioritise),
    "act": Surface("Do the same to all jobs that a search finds", params.Act),
    "watch": Surface("Wait for a job's result", params.Watch, is_reading=True),
    "job_data": Surface("Report a running job's data, progress or end, as its worker", params.JobData),
    "job_start": Surface("Ask for leave to run an attempt, as its worker", params.JobStart),
    "alive": Surface("Ask whether to go on with an attempt, as its worker", params.Alive),
    "status": Surface("Show jobs by their ids, or the current ones", params.Ids, is_reading=True, takes_list=True),
    "history": Surface("Show all that is kept of a job", params.ById, is_reading=True),
    "why": Surface("Say in a sentence why a job is where it is", params.ById, is_reading=True),
    "graph": Surface("Show the jobs that hang together with one", params.ById, is_reading=True),
    "stats": Surface("Show the statistics of a method", params.ByMethod, is_reading=True),
    "search": Surface("Find jobs, newest first", params.Search, is_reading=True),
    "states": Surface("Show the status and progress of jobs", params.Ids, is_reading=True, takes_list=True),
    "running": Surface("Show the newest running jobs and their workers", params.Size, is_reading=True),
    "upcoming": Surface("Show the jobs that wait for a date, the earliest first", params.Upcoming, is_reading=True),
    "pools": Surface("Show the newest jobs that others come before", params.Page, is_reading=True),
    "calendar": Surface("Show the coming runs of recurring entries", params.Calendar, is_reading=True),
    "overview": Surface("Show how things stand", is_reading=True),
    "latency": Surface("Show how long a method's jobs waited and ran", params.Latency, is_reading=True),
    "durations": Surface("Show the histograms of all methods", is_reading=True),
    "audit": Surface("Show what operators did, the last first", params.Page, is_reading=True),
    "gearman": Surface("Show what the Gearman servers say of themselves", is_reading=True),
    "system": Surface("Show how the core is", is_reading=True),
    "methods": Surface("Show all methods", is_reading=True),
    "pause": Surface("Start no more jobs of a method", params.ByMethod),
    "resume": Surface("Start the jobs of a paused method", params.ByMethod),
    "limit": Surface("Limit how many jobs of a method run at once", params.Limit),
    "schedule": Surface("Make or change a recurring entry", params.Recurring),
    "schedules": Surface("Show the recurring entries", is_reading=True),
    "unschedule": Surface("Drop a recurring entry", params.ByName),
    "run_now": Surface("Run a recurring entry, or a job that waits for its date, now", params.RunNow),
    "noop": Surface("Do nothing", is_reading=True),
    "noopwait": Surface("A method for jobs alone: wait for noopgo"),
    "noopgo": Surface("Let a noopwait go", params.ById),
}

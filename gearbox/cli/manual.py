"""g-client's manual, which is its parser as well, and where its shell completion comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["COMMANDS", "MANUAL", "NOTHING_TYPED", "manual_for"]

COMMANDS = (
    *("run", "queue", "queue-many", "watch", "cancel", "retry", "hurry", "reprioritise", "release", "act", "raw"),
    *("status", "search", "why", "history", "graph", "top", "audit"),
    *("stats", "methods", "pause", "resume", "limit"),
    *("schedule", "schedules", "unschedule", "run-now"),
    *("dead", "completion"),
)

MANUAL = r"""
Queues, watches and inspects gearbox jobs.

Usage:
  g-client run [options] [--] <name/space::method> [<arguments>...]
  g-client queue [options] [--] <name/space::method> [<arguments>...]
  g-client queue-many [options] <file>
  g-client watch [options] <id>
  g-client cancel [options] <ids>...
  g-client retry [options] <ids>...
  g-client hurry [options] <ids>...
  g-client reprioritise [options] <ids>...
  g-client release [options] <ids>...
  g-client act [options] <deed> <query>...
  g-client raw [options] [--] <name/space::method> [<arguments>...]
  g-client status [options] [<ids>...]
  g-client search [options] [<query>...]
  g-client why [options] <id>
  g-client history [options] <id>
  g-client graph [options] <id>
  g-client top [options]
  g-client audit [options]
  g-client stats [options] <name/space::method>
  g-client methods [options]
  g-client pause [options] <name/space::method>
  g-client resume [options] <name/space::method>
  g-client limit [options] <name/space::method> <number>
  g-client schedule [options] [--] <name> <cron> <name/space::method>
                    [<arguments>...]
  g-client schedules [options]
  g-client unschedule [options] <name>
  g-client run-now [options] <name>
  g-client dead [options] <what> [<handles>...]
  g-client completion [options] <shell>
  g-client --help | --version

Jobs:
  run         queue a job, wait for it, and print its result
  queue       queue a job, print its id, and return at once
  queue-many  queue all jobs of a JSON file (- is standard input) or none, and
              print their ids: [{"name", "args", "ref", "after_ref", ...}, ...]
  watch       wait for a job, and print its result; also long after it ended
  cancel      end jobs that nobody wants any more, also while they run
  retry       queue failed jobs anew, with what made them fail and what failed
              because of them; prints the new ids
  hurry       run jobs without waiting for their date or their next try
  reprioritise  give jobs that have not started another priority (-P)
  release     let jobs of gearbox/core::noopwait go on
  act         "cancel", "retry", "hurry" or "reprioritise" all jobs that a
              search finds; shows them, and asks before it does anything
  raw         call a gearbox RPC method (gearbox/core::status), or a worker's
              own method without scheduling, and print the result

Looking:
  status      the status of all current jobs, or of the jobs with these ids
  search      the newest jobs that are what you look for: "method:demo::*",
              "status:failed", "arg:text", "error:text", "dedupe:text",
              "after:12", "before:12", "schedule:name", "priority:high",
              "took>5s"; a word alone is looked for in arguments
  why         why a job is where it is, in one sentence
  history     all that happened to a job: when, why, and who did it
  graph       the jobs that a job hangs together with
  top         what goes on, live; once, where nobody watches a terminal
  audit       what people did: who, what, and why

Methods:
  stats       statistics about a method
  methods     all methods: their workers, limits and jobs
  pause       start no more jobs of a method; what runs goes on
  resume      start them again
  limit       have at most NUMBER of its jobs run at once; "none" lifts it

Recurring jobs:
  schedule    queue a job whenever the cron fields say: "*/5 * * * *"
  schedules   all entries, with their next runs
  unschedule  forget an entry
  run-now     queue its job now, and print the id

Plain background jobs that failed for good (abraxas --policies):
  dead        "list" them, or "retry" or "drop" those of the handles or
              functions that are named

  completion  print a script for bash, zsh or fish: eval it, or put it where
              the shell looks for completions

Options:
  --help                 Show help                                     [boolean]
  --version              Show version number                           [boolean]
  --priority, -P LEVEL   of the job   [choices: "high", "normal", "low"]
                                                       [default: normal]
  --dedupe, -D TEXT      if a job with the same text runs when this one is due,
                         this one becomes its duplicate                 [string]
  --after DATE           do not run before: ISO 8601 (UTC, if it has no offset),
                         or English in your time zone: "in 5 minutes",
                         "tomorrow 9:00"                                [string]
  --after-job ID         run when that job is complete                  [number]
  --before-job ID        let that job wait for this one                 [number]
  --expires DATE         give up if it has not begun by then            [string]
  --run-limit SECONDS    stop a try that runs longer                    [number]
  --retries N            how often to try again if it fails
                                                           [number] [default: 0]
  --retry-delay SECONDS  how long to wait before each retry
                                                           [number] [default: 1]
  --backoff KIND         how that grows  [choices: "fixed", "exponential"]
                                                       [default: fixed]
  --max-delay SECONDS    up to where                [number] [default: 3600]
  --timezone ZONE        of the cron fields       [string] [default: UTC]
  --overlap HOW          when the last run of an entry has not ended
         [choices: "skip", "queue", "allow"] [default: skip]
  --missed HOW           runs that were due while g-core was not there
         [choices: "skip", "once", "all"] [default: once]
  --reason TEXT          why you do that, for the audit                 [string]
  --alone                retry the job, but not what failed because of it
                                                                       [boolean]
  --yes, -y              act without asking                            [boolean]
  --limit N              how many jobs to find, or deeds of the audit
                                                          [number] [default: 50]
  --below ID             older ones than this                           [number]
  --wait-for-id          watch a job that does not exist yet           [boolean]
  --json, -J             run, queue, raw, schedule: the arguments are JSON; with
                         all others the same as -O json                [boolean]
  --output, -O MODE      how to print results; dot and svg for graph
        [choices: "inspect", "json", "nl-json", "plain", "dot", "svg"]
        [default: inspect]
  --timeout SECONDS      give up waiting; the job itself goes on        [number]
  --quiet, -q            print results and errors only                 [boolean]

Arguments:
  a b c                        ["a", "b", "c"]
  a=b c=d                      {"a": "b", "c": "d"}
  a=b c                        {"a": "b", "c": null}
  1 2 3                        ["1", "2", "3"]
  1 2 3            with -J     [1, 2, 3]
  a=true c         with -J     {"a": true, "c": null}
  '{"a":[1,true]}' with -J     {"a": [1, true]}; any one JSON value is itself
  '{"a":[1,true]}' without     the text "{\"a\":[1,true]}"
Write -- before arguments that begin with a dash.
In method names, / stands for \.

Environment:
  GEARMAN_SERVER  where Gearman is: host:port, several with commas
                                                     [default: 127.0.0.1:4730]
  TRACEPARENT     the trace that queued jobs belong to (W3C Trace Context)
  DEBUG           gearbox:* shows what happens inside
  NO_COLOR        no colours, also on a terminal

Exit codes: 0 done; 1 the job or the call failed, or wrong usage (then nothing
was queued); 69 Gearman or g-core cannot be reached; 74 the output cannot be
written; 75 --timeout has passed; 130 interrupted.
"""

NOTHING_TYPED: Mapping[str, Any] = {
    **dict.fromkeys(COMMANDS, False),
    **dict.fromkeys(
        ("<id>", "<name/space::method>", "<file>", "<name>", "<cron>", "<number>", "<shell>", "<what>", "<deed>")
    ),
    "<ids>": [],
    "<query>": [],
    "<handles>": [],
    "<arguments>": [],
    "--": False,
}
"""What a command line has of other commands' words."""


def manual_for(argv: Sequence[str]) -> str:
    """The manual with the usage of one command alone, where the command line seems to name it.

    docopt tries every usage there is: 0.1 s for all of them, 6 ms for one.

    >>> manual_for(["-q", "limit", "a::b", "3"]).split("Usage:")[1].splitlines()[1]
    '  g-client limit [options] <name/space::method> <number>'
    """
    command = next((word for word in argv if word in COMMANDS), None)
    if command is None or any(word.startswith(("--h", "--v")) for word in argv):
        return MANUAL
    usage = re.search(rf"^  g-client {command} .*\n(?:   .*\n)*", MANUAL, re.MULTILINE)
    assert usage is not None
    begin = MANUAL.index("Usage:\n") + len("Usage:\n")
    return MANUAL[:begin] + usage[0] + MANUAL[MANUAL.index("\n\nJobs:") + 1 :]

"""The child process of a command: `execute` does nothing but run it, `run` takes a job all the way.

The child leads a session of its own, so that it and all it started can be killed as one group: when the job is
cancelled, and when it prints more than its limit. Both of its outputs are read all the time, so that it never waits
for us; of standard error only the last MiB is kept.

It tells progress by writing lines to the file that GEARBOX_PROGRESS names in its environment, a pipe to us: `echo 42 >
"$GEARBOX_PROGRESS"`. Lines that are no number are passed over. (A line on standard error would be simpler, and any
job whose arguments are printed there could forge it.)

A machine that is short of what a process needs (descriptors, processes, threads, memory, room for files) may have it
again in a moment. Until then a job waits: it has not been started, and a worker that failed it would fail all that are
queued.

What is run, and what becomes of its output, is decided in `runner`.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import trio

from gearbox.errors import Code
from gearbox.work.runner import (
    NOT_EXECUTABLE,
    NOT_FOUND,
    OUTPUT_LIMIT_BYTES,
    Command,
    Exit,
    Input,
    Invocation,
    Output,
    Report,
    decode,
    failure,
    prepare,
    read_progress,
)

__all__ = ["execute", "run"]

PROGRESS = "GEARBOX_PROGRESS"
NO_FILES: Mapping[str, bytes] = {}
ERRORS_LIMIT_BYTES = 2**20  # of standard error, whose end is kept
LINGER = 5.0  # seconds for output to end after the command did: a child left behind in the background may hold it open
REAP_TIMEOUT = 5.0  # seconds for a killed child to disappear; only one stuck in the kernel takes longer
SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT})
SHORTAGE_LONGEST = 60.0  # seconds in which it is tried again
SHORTAGE_PAUSE = 0.5  # seconds between tries
THREAD_BYTES = 2**20  # of output, from which on it is decoded in a thread
CHUNK_BYTES = 65536  # what a pipe holds


class _Capture:
    """What a command printed. `is_full` once there was more than `limit` bytes, of which the last are kept."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._data = bytearray()
        self.is_full = False

    def add(self, chunk: bytes | bytearray) -> None:
        self._data += chunk
        self.is_full = self.is_full or len(self._data) > self._limit_bytes
        if len(self._data) > 2 * self._limit_bytes:  # not at each chunk: cutting moves all that is kept
            self._cut()

    def _cut(self) -> None:
        del self._data[: max(0, len(self._data) - self._limit_bytes)]

    def whole(self) -> bytes:
        self._cut()
        return bytes(self._data)


async def execute(
    invocation: Invocation,
    *,
    environment: Mapping[str, str] | None = None,
    output_limit_bytes: int = OUTPUT_LIMIT_BYTES,
    started: Callable[[int], object] = lambda group: None,
    ended: Callable[[int], object] = lambda group: None,
    progress: Callable[[float], object] = lambda number: None,
    files: Mapping[str, bytes] = NO_FILES,
    held_up: Callable[[str], object] = lambda reason: None,
) -> Exit:
    """Run the command to its end. Cancelled, it kills the command and all that it started.

    `started` and `ended` are told the process group, `progress` the numbers that it reports. `files` are for it to
    read; each path is in its environment, under the name given. `held_up` is told why it cannot be started now, once.
    Raises OSError when the program cannot be started.
    """
    process, reports = await _start_in_time(invocation, environment, files, held_up)
    async with reports:
        started(process.pid)
        stdout, stderr = _Capture(output_limit_bytes), _Capture(ERRORS_LIMIT_BYTES)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with process.stdin, process.stdout, process.stderr, trio.open_nursery() as beside:
                beside.start_soon(_feed, process.stdin, invocation.stdin)
                beside.start_soon(_follow, reports, progress)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_collect, process.stdout, stdout, partial(_kill_group, process.pid))
                    nursery.start_soon(_collect, process.stderr, stderr, None)
                    await process.wait()
                    nursery.cancel_scope.deadline = trio.current_time() + LINGER
                # A child left behind has these two, too. What was told is read: it was there no later than the end.
                beside.cancel_scope.cancel()
        except BaseException:
            _kill_group(process.pid)
            with trio.move_on_after(REAP_TIMEOUT, shield=True):
                await process.wait()
            raise
        finally:
            ended(process.pid)
    assert process.returncode is not None
    return Exit(process.returncode, stdout.whole(), stderr.whole(), stdout.is_full)


async def _start_in_time(
    invocation: Invocation,
    environment: Mapping[str, str] | None,
    files: Mapping[str, bytes],
    held_up: Callable[[str], object],
) -> tuple[trio.Process, trio.lowlevel.FdStream]:
    """Start it when there is what it needs; OSError if there is not for too long, or for anything else."""
    until = trio.current_time() + SHORTAGE_LONGEST
    is_held_up = False
    while True:
        try:
            return await _start(invocation, environment, files)
        except OSError as problem:
            if problem.errno not in SHORTAGES or trio.current_time() >= until:
                raise
            if not is_held_up:
                held_up(problem.strerror or str(problem))
            is_held_up = True
        await trio.sleep(SHORTAGE_PAUSE)


async def _start(
    invocation: Invocation, environment: Mapping[str, str] | None, files: Mapping[str, bytes]
) -> tuple[trio.Process, trio.lowlevel.FdStream]:
    """The child, and where it reports its progress."""
    with ExitStack() as at_end, ExitStack() as on_failure:
        reading, writing = os.pipe()
        on_failure.callback(os.close, reading)
        at_end.callback(os.close, writing)
        paths = {PROGRESS: f"/dev/fd/{writing}"}
        for name, data in files.items():
            file = at_end.enter_context(tempfile.TemporaryFile())  # without a name, gone when the last one closes it
            file.write(data)
            file.seek(0)
            paths[name] = f"/dev/fd/{file.fileno()}"
        try:
            process = await trio.lowlevel.open_process(
                list(invocation.argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                pass_fds=[int(path.removeprefix("/dev/fd/")) for path in paths.values()],
                env={**(os.environ if environment is None else environment), **paths},
            )
        except RuntimeError as problem:  # there is no thread to start it in: EAGAIN, which Python does not tell
            raise OSError(errno.EAGAIN, str(problem)) from problem
        on_failure.pop_all()
    return process, trio.lowlevel.FdStream(reading)


async def _feed(stdin: trio.abc.SendStream, data: bytes) -> None:
    """A command need not read its input, nor live long enough to."""
    async with stdin:
        with suppress(trio.BrokenResourceError):
            await stdin.send_all(data)


async def _collect(stream: trio.abc.ReceiveStream, capture: _Capture, overflow: Callable[[], object] | None) -> None:
    while chunk := await stream.receive_some(CHUNK_BYTES):
        capture.add(chunk)
        if capture.is_full and overflow is not None:
            overflow()
            return


async def _follow(reports: trio.abc.ReceiveStream, progress: Callable[[float], object]) -> None:
    rest = b""
    while chunk := await reports.receive_some(CHUNK_BYTES):
        numbers, rest = read_progress(rest + chunk)
        if numbers:
            progress(numbers[-1])  # the others are past


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


async def run(
    command: Command,
    input: Input,
    output: Output,
    params: Any,
    *,
    environment: Mapping[str, str] | None = None,
    output_limit_bytes: int = OUTPUT_LIMIT_BYTES,
    started: Callable[[int], object] = lambda group: None,
    ended: Callable[[int], object] = lambda group: None,
    progress: Callable[[float], object] = lambda number: None,
    files: Mapping[str, bytes] = NO_FILES,
    held_up: Callable[[str], object] = lambda reason: None,
) -> tuple[Report, Exit | None]:
    """Run one job. What goes wrong with the command is in the report; there is no exit if it could not be started.

    `held_up` is told why it cannot be started now, once.
    """
    invocation = prepare(command, input, params)
    if isinstance(invocation, Report):
        return invocation, None
    try:
        exit = await execute(
            invocation,
            environment=environment,
            output_limit_bytes=output_limit_bytes,
            started=started,
            ended=ended,
            progress=progress,
            files=files,
            held_up=held_up,
        )
    except (OSError, ValueError) as problem:
        return _not_started(invocation.argv, problem), None
    if len(exit.stdout) > THREAD_BYTES:  # parsing takes long enough to keep the other jobs waiting
        with suppress(RuntimeError):  # no thread can be started now
            return await trio.to_thread.run_sync(decode, output, exit), exit
    return decode(output, exit), exit


def _not_started(argv: Sequence[str], problem: Exception) -> Report:
    number = problem.errno if isinstance(problem, OSError) else None
    match number:
        case errno.ENOENT:
            return failure(NOT_FOUND, f"command not found: {argv[0]}")
        case errno.EACCES | errno.ENOEXEC | errno.EISDIR:
            return failure(NOT_EXECUTABLE, f"command cannot be executed: {argv[0]}: {os.strerror(number)}")
        case errno.E2BIG:
            return failure(Code.TOO_LARGE, "the arguments are too long for a command; use the input mode stdin")
        case _:
            return failure(Code.INTERNAL, f"command could not be started: {problem}")

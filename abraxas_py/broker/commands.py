"""The text commands: a line of a peer to a change or a table of the broker.

Commands that change the server's state are taken only from peers that may administrate. An unknown command makes the
connection text-only: whoever speaks neither dialect may be a browser that somebody sent here (G17).
"""

from __future__ import annotations

from collections.abc import Callable

from abraxas_py.broker import report
from abraxas_py.broker.keeping import Keeping
from abraxas_py.broker.model import Job, Peer, Right
from abraxas_py.errors import RemoteProtocolError
from abraxas_py.protocol.text import OK, error, is_http, words
from abraxas_py.protocol.wire import RESPONSE, Line, encode_one

__all__ = ["run"]

Command = Callable[[Keeping, Peer, list[bytes]], Line]

# The texts are gearmand's, down to the missing space before the word at fault, for whoever compares them.
_NOT_ALLOWED = error(b"NOT_ALLOWED", b"This command is not taken from this connection")


def run(broker: Keeping, peer: Peer, line: Line, now: float) -> None:
    """Answer one line."""
    if is_http(line):
        broker.close(peer)
        return
    word, arguments = words(line)
    command = _QUESTIONS.get(word)
    if command is None and word in _CHANGES:
        command = _CHANGES[word] if Right.ADMINISTRATE in peer.origin.rights else _not_allowed
    if command is None:
        peer.text_only = True
        answer = _unknown(word)
    else:
        answer = command(broker, peer, arguments)
    peer.send(encode_one(RESPONSE, answer))


def _unknown(word: bytes) -> Line:
    return error(b"UNKNOWN_COMMAND", b"Unknown server command" + word)


def _incomplete(word: bytes) -> Line:
    return error(b"INVALID_ARGUMENTS", b"An incomplete set of arguments was sent to this command " + word)


def _not_allowed(broker: Keeping, peer: Peer, arguments: list[bytes]) -> Line:
    return _NOT_ALLOWED


def _status(broker: Keeping, peer: Peer, arguments: list[bytes]) -> Line:
    return report.status(broker.functions.values())


def _priority_status(broker: Keeping, peer: Peer, arguments: list[bytes]) -> Line:
    return report.priority_status(broker.functions.values())


def _workers(broker: Keeping, peer: Peer, arguments: list[bytes]) -> Line:
    return report.workers(broker.peers.values())


def _show(broker: Keeping, peer: Peer, arguments: list[bytes]) -> Line:
    match [argument.lower() for argument in arguments]:
        case []:
            return _unknown(b"show")
        case [b"jobs"]:
            return report.jobs(broker.jobs.values())
        case [b"unique", b"jobs"]:
            return report.uniques(broker.jobs.values())
        case _:
            return error(b"UNKNOWN_SHOW_ARGUMENTS")


def _version(broker: Keeping, peer: Peer, arguments: list[bytes]) -> Line:
    return Line(b"OK " + broker.options.version.encode())


def _getpid(broker: Keeping, peer: Peer, arguments: list[bytes]) -> Line:
    return Line(b"OK %d" % broker.options.pid)


def _verbose(broker: Keeping, peer: Peer, arguments: list[bytes]) -> Line:
    return Line(b"OK " + broker.options.verbose.encode())


def _cancel(broker: Keeping, peer: Peer, arguments: list[bytes]) -> Line:
    match arguments:
        case [word, handle, *_] if word.lower() == b"job":
            job = broker.jobs.get(handle)
            if job is None:
                return error(b"UNKNOWN_JOB")
            broker.cancel(job)
            return OK
        case [_, _, *_]:
            return error(b"UNKNOWN_ERROR")
        case _:
            return _unknown(b"cancel")


def _dead(broker: Keeping, peer: Peer, arguments: list[bytes]) -> Line:
    """Not gearmand's: the jobs that failed for good under a policy."""
    match [argument.lower() for argument in arguments[:1]] + arguments[1:]:
        case [b"list"]:
            return report.dead(broker.dead.values())
        case [b"list", name]:
            return report.dead(_dead_of(broker, name))
        case [b"retry" | b"drop" as what, name]:
            if Right.ADMINISTRATE not in peer.origin.rights:
                return _NOT_ALLOWED
            jobs = _dead_of(broker, name)
            for job in jobs:
                if what == b"retry":
                    broker.retry_dead(job)
                else:
                    broker.drop_dead(job)
            return Line(b"OK %d\r" % len(jobs)) if jobs else error(b"UNKNOWN_JOB")
        case _:
            return _incomplete(b"dead")


def _dead_of(broker: Keeping, name: bytes) -> list[Job]:
    """The dead job of a handle, or those of a function."""
    if name in broker.dead:
        return [broker.dead[name]]
    return [job for job in broker.dead.values() if job.function.name == name]


def _create(broker: Keeping, peer: Peer, arguments: list[bytes]) -> Line:
    match arguments:
        case [word, name, *_] if word.lower() == b"function":
            try:
                broker.function(name)
            except RemoteProtocolError as refused:
                return error(refused.code.encode(), refused.text.encode())
            return OK
        case _:
            return _incomplete(b"create")


def _drop(broker: Keeping, peer: Peer, arguments: list[bytes]) -> Line:
    match arguments:
        case [word, name, *_] if word.lower() == b"function":
            function = broker.functions.get(name)
            if function is None:
                return Line(b"ERR function not found\r")
            if not broker.drop(function):
                return Line(b"ERR there are still connected workers or executing clients\r")
            return OK
        case _:
            return _incomplete(b"drop")


def _max_queue(broker: Keeping, peer: Peer, arguments: list[bytes]) -> Line:
    match arguments:
        case []:
            return _incomplete(b"maxqueue")
        case [name, *sizes] if len(sizes) <= 3:
            try:
                function = broker.function(name)
            except RemoteProtocolError as refused:
                return error(refused.code.encode(), refused.text.encode())
            # One size is for all priorities; a missing one is no limit.
            high, normal, low, *_ = sizes * 3 if len(sizes) == 1 else [*sizes, b"0", b"0", b"0"]
            function.max_queued = (_size(high), _size(normal), _size(low))
            return OK
        case _:
            return error(b"INVALID_ARGUMENTS", b"maxqueue takes a function and none, one or three sizes")


def _size(word: bytes) -> int:
    return int(word) if word.isdigit() and len(word) < 19 else 0


def _shutdown(broker: Keeping, peer: Peer, arguments: list[bytes]) -> Line:
    broker.stop(drain=[argument.lower() for argument in arguments] == [b"graceful"])
    return OK


_QUESTIONS: dict[bytes, Command] = {
    b"status": _status,
    b"prioritystatus": _priority_status,
    b"workers": _workers,
    b"show": _show,
    b"dead": _dead,
    b"version": _version,
    b"getpid": _getpid,
    b"verbose": _verbose,
}
_CHANGES: dict[bytes, Command] = {
    b"cancel": _cancel,
    b"create": _create,
    b"drop": _drop,
    b"maxqueue": _max_queue,
    b"shutdown": _shutdown,
}

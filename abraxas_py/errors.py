"""Everything that can go wrong, by whose fault it is.

AbraxasError
├── ProtocolError
│   ├── LocalProtocolError    our caller asked for something that cannot be said on the wire
│   └── RemoteProtocolError   the peer said something that the protocol does not allow
├── InvalidEndpoint           a server address that cannot be understood (a ValueError, too)
├── ListenError               an address that cannot be listened on
│   └── TlsUnusable           its certificate is missing, or a file of it cannot be used
├── ConnectionLost            the connection ended before the answer came
├── Unavailable               no server could be reached; nothing was sent
├── ResponseTimeout           the answer did not come in the time that the caller gave it
├── PayloadError              what was to be a job's payload could not be read to its end
├── JournalError              the queue on disk, or in a database, cannot be used
│   ├── JournalRefused        it took nothing of what it was given, and may take it another time
│   ├── JournalUncertain      whether it took what it was given is not known yet: give it the same again
│   ├── JournalFenced         other servers have taken it over
│   └── JournalBroken         what it has taken is not known: the server must stop
├── ServerError               the server answered with an ERROR packet or an ERR line
└── JobError
    ├── JobFailed             WORK_FAIL
    └── JobRaised             WORK_EXCEPTION, with the worker's data
"""

from __future__ import annotations

__all__ = [
    "AbraxasError",
    "ConnectionLost",
    "InvalidEndpoint",
    "JobError",
    "JobFailed",
    "JobRaised",
    "JournalBroken",
    "JournalError",
    "JournalFenced",
    "JournalRefused",
    "JournalUncertain",
    "ListenError",
    "LocalProtocolError",
    "PayloadError",
    "ProtocolError",
    "RemoteProtocolError",
    "ResponseTimeout",
    "ServerError",
    "TlsUnusable",
    "Unavailable",
]


class AbraxasError(Exception):
    """The root of all errors of this package."""


class ProtocolError(AbraxasError):
    """Somebody broke Gearman's protocol."""


class LocalProtocolError(ProtocolError):
    """Our own caller asked for something that cannot be said on the wire; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol.

    `code` and `text` are what an ERROR packet tells it (libgearman parses the codes by name, so they are gearmand's).
    `is_fatal`: where the next message begins is unknown or not worth knowing, so the connection must be closed.
    """

    def __init__(self, code: str, text: str, *, is_fatal: bool = False) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text
        self.is_fatal = is_fatal


class InvalidEndpoint(AbraxasError, ValueError):
    """A server address that cannot be understood; the text says what would be."""


class ListenError(AbraxasError):
    """An address that cannot be listened on; the text names it and says what to do."""


class TlsUnusable(ListenError):
    """No certificate was named for an address of TLS, or a file that was cannot be used."""


class ConnectionLost(AbraxasError):
    """The connection ended, or could not be made; the text names the server.

    Of a job: it had been sent before the loss, so whether it was run (or still will be) is unknown.
    """


class Unavailable(AbraxasError):
    """No server could be reached in time. Nothing was submitted, so trying again cannot do anything twice."""


class ResponseTimeout(AbraxasError):
    """The answer did not come in the time that the caller gave it; the job may run still, unheard."""


class PayloadError(AbraxasError):
    """What was to be a job's payload could not be read to its end, for the reason that is this error's cause.

    Of a client's task: a worker may have seen the beginning. Of a worker's job: its client is gone, or gave up.
    """


class JournalError(AbraxasError):
    """The queue on disk, or in a database, cannot be used; the text names it and says what to do."""


class JournalRefused(JournalError):
    """The queue took nothing of what it was given, and may take it later: its disk is full, or nobody answers."""


class JournalUncertain(JournalError):
    """The connection was lost in the moment of a commit. Given the same changes again, the queue finds out."""


class JournalFenced(JournalError):
    """The servers that share the queue have declared this one dead, and taken over what it kept; nothing was taken."""


class JournalBroken(JournalError):
    """What the queue holds is not known, since its disk failed; only a new start can tell."""


class ServerError(AbraxasError):
    """The server refused a request: ERROR's `code` and `text`, or those of an ERR line of the admin protocol."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}" if text else code)
        self.code = code
        self.text = text


class JobError(AbraxasError):
    """A job that did not complete, by its worker's word."""


class JobFailed(JobError):
    """The job ended in WORK_FAIL, which carries no reason."""


class JobRaised(JobError):
    """The job ended in WORK_EXCEPTION; `data` is what its worker sent with it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data.decode(errors="backslashreplace"))
        self.data = data

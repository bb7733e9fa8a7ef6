"""What is said to gearmand 1.1.20 and to our server alike: scripts, and what we answer otherwise on purpose."""

from __future__ import annotations

import struct

from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.wire import RESPONSE, encode

__all__ = ["DIFFERENCES", "HANDLE", "SCRIPTS", "Step"]

Step = tuple[str, bytes | Packet | None]  # who sends what; None: it leaves

# In a script, a packet that names a job by its number gets the handle that the server gave it.
HANDLE = b"<%d>"


def send(peer: str, type: Type, *arguments: bytes) -> Step:
    return peer, Packet(type, b"\0".join(arguments))


def say(peer: str, line: bytes) -> Step:
    return peer, line + b"\n"


def leave(peer: str) -> Step:
    return peer, None


T = Type
JOB1, JOB2 = HANDLE % 1, HANDLE % 2
GRAB = send("w", T.GRAB_JOB)
SLEEP = send("w", T.PRE_SLEEP)
CAN = send("w", T.CAN_DO, b"f")

SCRIPTS: dict[str, list[Step]] = {
    "echo": [send("a", T.ECHO_REQ, b"a\0b"), send("a", T.ECHO_REQ)],
    "foreground to its end": [
        *(CAN, SLEEP, send("a", T.SUBMIT_JOB, b"f", b"", b"data"), GRAB),
        *(send("w", T.WORK_STATUS, JOB1, b"1", b"2"), send("w", T.WORK_DATA, JOB1, b"x\0y")),
        *(send("w", T.WORK_WARNING, JOB1, b""), send("w", T.WORK_COMPLETE, JOB1, b"done"), GRAB),
    ],
    "failure": [CAN, send("a", T.SUBMIT_JOB, b"f", b"", b""), GRAB, send("w", T.WORK_FAIL, JOB1)],
    "background": [send("a", T.SUBMIT_JOB_BG, b"f", b"u", b""), CAN, GRAB, send("w", T.WORK_COMPLETE, JOB1, b"")],
    "grab with unique": [send("a", T.SUBMIT_JOB_BG, b"f", b"u", b"x"), CAN, send("w", T.GRAB_JOB_UNIQ)],
    "a reducer that is empty": [
        *(send("a", T.SUBMIT_REDUCE_JOB_BACKGROUND, b"f", b"u", b"", b"", b"x"), CAN, send("w", T.GRAB_JOB_ALL)),
    ],
    "a dash as unique of nothing": [send("a", T.SUBMIT_JOB_BG, b"f", b"-", b"")] * 2,
    "a dash, abandoned": [
        *(send("a", T.SUBMIT_JOB, b"f", b"-", b"x"), CAN, GRAB, leave("a"), send("b", T.GET_STATUS_UNIQUE, b"-")),
    ],
    "grab all": [
        *(send("a", T.SUBMIT_REDUCE_JOB_BACKGROUND, b"f", b"u", b"r", b"", b"x"), CAN, send("w", T.GRAB_JOB_ALL)),
        *(send("a", T.SUBMIT_JOB_BG, b"f", b"", b"y"), send("w", T.GRAB_JOB_ALL)),
    ],
    "priorities": [
        send("a", T.SUBMIT_JOB_LOW_BG, b"f", b"", b"low"),
        send("a", T.SUBMIT_JOB_BG, b"f", b"", b"normal"),
        send("a", T.SUBMIT_JOB_HIGH_BG, b"f", b"", b"high"),
        send("a", T.SUBMIT_JOB_BG, b"f", b"", b"normal 2"),
        *(say("a", b"prioritystatus"), CAN, GRAB, GRAB, GRAB, GRAB, GRAB),
    ],
    "the last registered of equals comes first": [
        *(CAN, send("w", T.CAN_DO, b"g")),
        *(send("a", T.SUBMIT_JOB_BG, b"f", b"", b"f"), send("a", T.SUBMIT_JOB_BG, b"g", b"", b"g"), GRAB, GRAB),
    ],
    "coalescing": [
        send("a", T.SUBMIT_JOB, b"f", b"u", b"first"),
        send("b", T.SUBMIT_JOB, b"f", b"u", b"second"),
        send("b", T.SUBMIT_JOB, b"f", b"u", b"third"),
        *(send("b", T.GET_STATUS_UNIQUE, b"u"), CAN, GRAB, send("w", T.WORK_DATA, JOB1, b"x")),
        *(send("w", T.WORK_COMPLETE, JOB1, b"y"), send("a", T.GET_STATUS, JOB1)),
    ],
    "a dash as unique": [
        send("a", T.SUBMIT_JOB_BG, b"f", b"-", b"payload"),
        send("a", T.SUBMIT_JOB_BG, b"f", b"-", b"payload"),
        *(send("a", T.SUBMIT_JOB_BG, b"f", b"-", b"other"), say("a", b"status")),
    ],
    "status by handle": [
        *(send("a", T.SUBMIT_JOB_BG, b"f", b"u", b""), send("a", T.GET_STATUS, JOB1), CAN, GRAB),
        *(send("w", T.WORK_STATUS, JOB1, b"3", b"7"), send("a", T.GET_STATUS, JOB1)),
        *(
            send("a", T.GET_STATUS_UNIQUE, b"u"),
            send("a", T.GET_STATUS, b"H:no:1"),
            send("a", T.GET_STATUS_UNIQUE, b"n"),
        ),
    ],
    "a running job that nobody waits for, by its unique": [
        *(send("a", T.SUBMIT_JOB, b"f", b"u", b""), CAN, GRAB, leave("a"), send("b", T.GET_STATUS_UNIQUE, b"u")),
        *(send("w", T.WORK_COMPLETE, JOB1, b""), send("b", T.GET_STATUS_UNIQUE, b"u")),
    ],
    "an exception for whom asked": [
        *(send("a", T.OPTION_REQ, b"exceptions"), send("a", T.SUBMIT_JOB, b"f", b"", b""), CAN, GRAB),
        send("w", T.WORK_EXCEPTION, JOB1, b"oops"),
    ],
    "unknown options": [send("a", T.OPTION_REQ, b"speed"), send("a", T.OPTION_REQ, b""), send("a", T.ECHO_REQ)],
    "sleeping and waking": [
        *(CAN, GRAB, SLEEP, send("a", T.SUBMIT_JOB_BG, b"f", b"", b"")),
        *(send("a", T.SUBMIT_JOB_BG, b"f", b"", b""), GRAB, SLEEP, GRAB, GRAB, SLEEP),
    ],
    "can do while asleep wakes nobody": [
        *(send("a", T.SUBMIT_JOB_BG, b"g", b"", b""), CAN, SLEEP, send("w", T.CAN_DO, b"g")),
        send("a", T.SUBMIT_JOB_BG, b"g", b"", b""),
    ],
    "grab without abilities": [GRAB, send("w", T.GRAB_JOB_UNIQ), send("w", T.GRAB_JOB_ALL)],
    "what was given up is not given": [
        *(CAN, send("w", T.CANT_DO, b"f"), send("a", T.SUBMIT_JOB_BG, b"f", b"", b""), GRAB, CAN, GRAB),
        *(send("w", T.RESET_ABILITIES), GRAB, send("w", T.CANT_DO, b"never")),
    ],
    "a lost worker": [
        *(send("a", T.SUBMIT_JOB, b"f", b"", b"1"), send("a", T.SUBMIT_JOB, b"f", b"", b"2"), CAN, GRAB, leave("w")),
        *(say("b", b"show jobs"), send("x", T.CAN_DO, b"f"), send("x", T.GRAB_JOB), send("x", T.GRAB_JOB)),
        send("x", T.WORK_COMPLETE, JOB1, b""),
    ],
    "a worker that reports nonsense": [
        *(send("w", T.WORK_COMPLETE, b"H:no:1", b"x"), send("w", T.WORK_DATA, b"H:no:1", b"x")),
        *(send("w", T.WORK_STATUS, b"H:no:1", b"1", b"2"), send("w", T.WORK_FAIL, b"H:no:1")),
        send("w", T.WORK_EXCEPTION, b"H:no:1", b"x"),
        send("w", T.WORK_WARNING, b"H:no:1", b"x"),
    ],
    "a stranger's report": [
        *(send("a", T.SUBMIT_JOB, b"f", b"", b""), CAN, GRAB, send("x", T.CAN_DO, b"f")),
        send("x", T.WORK_COMPLETE, b"H:no:1", b"forged"),
    ],
    "twice complete": [
        *(send("a", T.SUBMIT_JOB, b"f", b"", b""), CAN, GRAB, send("w", T.WORK_COMPLETE, JOB1, b"")),
        send("w", T.WORK_COMPLETE, JOB1, b""),
    ],
    "a foreground job without its client": [
        *(send("a", T.SUBMIT_JOB, b"f", b"", b""), CAN, GRAB, leave("a"), send("w", T.WORK_DATA, JOB1, b"x")),
        *(send("w", T.WORK_COMPLETE, JOB1, b""), say("b", b"status")),
    ],
    "server's types": [send("a", t) for t in (T.UNUSED, T.NOOP, T.NO_JOB, T.ECHO_RES, T.OPTION_RES, T.ALL_YOURS)],
    "the other magic": [("a", encode(RESPONSE, Packet(T.ECHO_REQ, b"x"))), send("a", T.ECHO_REQ, b"y")],
    "no magic at all": [("a", b"\0FOO" + bytes(8))],
    "an unknown type": [("a", b"\0REQ" + struct.pack(">II", 43, 0))],
    "type zero": [("a", b"\0REQ" + struct.pack(">II", 0, 0))],
    "a body where none belongs": [CAN, send("w", T.GRAB_JOB, b"body"), send("w", T.ECHO_REQ)],
    "a unique too long": [send("a", T.SUBMIT_JOB, b"f", b"u" * 65, b""), send("a", T.ECHO_REQ)],
    "a unique of 63": [send("a", T.SUBMIT_JOB_BG, b"f", b"u" * 63, b""), CAN, send("w", T.GRAB_JOB_UNIQ)],
    "an epoch that is past": [send("a", T.SUBMIT_JOB_EPOCH, b"f", b"", b"1", b"x"), CAN, GRAB],
    "an epoch that is far": [
        *(send("a", T.SUBMIT_JOB_EPOCH, b"f", b"u", b"4000000000", b"x"), CAN, GRAB),
        *(send("a", T.SUBMIT_JOB_BG, b"f", b"u", b""), send("a", T.GET_STATUS, JOB1), say("a", b"status")),
        *(send("a", T.SUBMIT_JOB_BG, b"f", b"", b"now"), GRAB),
    ],
    "maxqueue": [
        *(send("a", T.SUBMIT_JOB_BG, b"f", b"u", b""), say("x", b"maxqueue f 1"), CAN, GRAB),
        *(send("a", T.SUBMIT_JOB_BG, b"f", b"", b""), send("a", T.SUBMIT_JOB_BG, b"f", b"u", b"")),
        *(say("x", b"maxqueue f 3 2 1"), send("a", T.SUBMIT_JOB_LOW_BG, b"f", b"", b"")),
        *(send("a", T.SUBMIT_JOB_BG, b"f", b"", b""), send("a", T.SUBMIT_JOB_BG, b"f", b"", b"")),
        *(send("a", T.SUBMIT_JOB_HIGH_BG, b"f", b"", b""), send("a", T.SUBMIT_JOB_HIGH_BG, b"f", b"", b"")),
        *(say("x", b"maxqueue f"), send("a", T.SUBMIT_JOB_LOW_BG, b"f", b"", b"")),
    ],
    "text commands": [
        *(CAN, send("w", T.SET_CLIENT_ID, b"id"), send("a", T.SUBMIT_JOB_BG, b"f", b"u", b"")),
        *(say("x", b"status"), say("x", b"STATUS\r"), say("x", b"status extra"), say("x", b"prioritystatus")),
        *(say("x", b"show jobs"), say("x", b"show unique jobs"), say("x", b"show foo")),
        *(say("x", b"version x"), say("x", b"verbose"), say("x", b"status\nshow jobs")),
    ],
    "unknown commands": [
        say("x", line) for line in (b"foo bar", b"", b" status", b"show", b"shutdown_", b"cancel job")
    ],
    "functions come and go": [
        *(
            say("x", b"create function new\r"),
            say("x", b"status"),
            say("x", b"drop function new\r"),
            say("x", b"status"),
        ),
        *(say("x", b"drop function nope\r"), CAN, say("x", b"drop function f\r")),
        *(say("x", b"create"), say("x", b"create foo x"), say("x", b"drop"), say("x", b"maxqueue")),
    ],
    "cancel": [
        *(send("a", T.SUBMIT_JOB, b"f", b"", b""), say("x", b"cancel job " + JOB1)),
        *(CAN, GRAB, say("x", b"cancel job H:no:9"), say("x", b"cancel foo bar")),
    ],
    "a time limit that is none": [
        *(send("w", T.CAN_DO_TIMEOUT, b"f", b"0"), send("a", T.SUBMIT_JOB_BG, b"f", b"", b""), GRAB),
    ],
}

DIFFERENCES: dict[str, tuple[str, list[Step]]] = {
    "an exception for whom did not ask": (
        "WORK_FAIL is the bare handle: libgearman ignores, and Perl dies of, gearmand's NUL behind it (G12)",
        [CAN, send("a", T.SUBMIT_JOB, b"f", b"", b""), GRAB, send("w", T.WORK_EXCEPTION, JOB1, b"oops")],
    ),
    "a failure after an exception": (
        "many libraries send it, and an ERROR would only confuse them",
        [
            CAN,
            send("a", T.SUBMIT_JOB_BG, b"f", b"", b""),
            GRAB,
            send("w", T.WORK_EXCEPTION, JOB1, b""),
            send("w", T.WORK_FAIL, JOB1),
        ],
    ),
    "complete with the bare handle": (
        "Perl's worker sends it for an empty result; gearmand closes the connection, and the job runs again",
        [CAN, send("a", T.SUBMIT_JOB, b"f", b"", b""), GRAB, send("w", T.WORK_COMPLETE, JOB1)],
    ),
    "missing separators": (
        "a packet that can be told from the next one harms nothing, so it gets an ERROR in place of a close",
        [send("a", T.SUBMIT_JOB, b"f", b"u"), send("a", T.ECHO_REQ)],
    ),
    "an empty function": ("no worker can ask for it", [send("a", T.SUBMIT_JOB_BG, b"", b"", b"")]),
    "a forged listing": ("a name with control characters forges rows (G18)", [send("a", T.CAN_DO, b"f\t9\t9\t9\n.")]),
    "a unique of 64": (
        "it arrives whole, as the limit promises; gearmand cuts it",
        [send("a", T.SUBMIT_JOB_BG, b"f", b"u" * 64, b""), CAN, send("w", T.GRAB_JOB_UNIQ)],
    ),
    "a long handle": ("gearmand closes the connection", [send("a", T.GET_STATUS, b"H" * 70)]),
    "an epoch that is none": ("gearmand runs it at once (G11)", [send("a", T.SUBMIT_JOB_EPOCH, b"f", b"", b"x", b"")]),
    "recurring jobs": (
        "gearmand has none",
        [send("a", T.SUBMIT_JOB_SCHED, b"f", b"", b"", b"", b"", b"", b"", b"x")],
    ),
    "streaming": ("an extension of ours", [send("a", T.OPTION_REQ, b"streaming")]),
    "a line of many words": ("gearmand closes the connection", [say("a", b"a b c d e f g h i j k")]),
    "maxqueue before the function": (
        "it sticks to the function, which is listed from then on",
        [say("x", b"maxqueue f 1"), say("x", b"status")],
    ),
    "dropping a function with jobs": (
        "its jobs would be lost without a word",
        [send("a", T.SUBMIT_JOB_BG, b"f", b"", b""), say("x", b"drop function f\r"), say("x", b"status")],
    ),
    "abandoned jobs": (
        "they stop counting at once",
        [send("a", T.SUBMIT_JOB, b"f", b"", b""), leave("a"), say("x", b"status")],
    ),
    "a background job that a client joined and left": (
        "it still runs (G2)",
        [send("a", T.SUBMIT_JOB_BG, b"f", b"u", b""), send("b", T.SUBMIT_JOB, b"f", b"u", b""), leave("b"), CAN, GRAB],
    ),
    "registered twice": (
        "a connection is one worker, however often it says what it can do",
        [CAN, CAN, say("x", b"status")],
    ),
    "given up in the middle of a job": (
        "the worker may finish what it runs; gearmand gives it to another one at once",
        [
            send("a", T.SUBMIT_JOB, b"f", b"", b""),
            CAN,
            GRAB,
            send("w", T.RESET_ABILITIES),
            send("w", T.WORK_COMPLETE, JOB1, b""),
        ],
    ),
    "somebody else's protocol": ("it is closed at once (G17)", [say("a", b"GET / HTTP/1.1")]),
    "shutdown": ("gearmand has removed it; Perl's and Abraxas's clients still send it", [say("x", b"shutdown")]),
    "cancelled twice": (
        "the second time there is no such job; gearmand tells its client again",
        [send("a", T.SUBMIT_JOB, b"f", b"", b""), *[say("x", b"cancel job " + JOB1)] * 2],
    ),
    "cancelled while it runs": (
        "its client hears no more of it; gearmand forwards the result all the same",
        [
            *(send("a", T.SUBMIT_JOB, b"f", b"", b""), CAN, GRAB, say("x", b"cancel job " + JOB1)),
            *(send("w", T.WORK_DATA, JOB1, b"x"), send("w", T.WORK_COMPLETE, JOB1, b"y")),
        ],
    ),
    "a foreground job that is submitted in the background too": (
        "it is kept whoever leaves (G3), and shown so",
        [
            send("a", T.SUBMIT_JOB, b"f", b"u", b""),
            send("b", T.SUBMIT_JOB_BG, b"f", b"u", b""),
            say("x", b"show jobs"),
        ],
    ),
    "an abandoned job is joined by nobody": (
        "gearmand's zombie ends without a word (G7)",
        [
            *(send("a", T.SUBMIT_JOB, b"f", b"u", b""), CAN, GRAB, leave("a")),
            *(send("b", T.SUBMIT_JOB, b"f", b"u", b""), GRAB),
        ],
    ),
    "the same unique in two functions": (
        "the packet names no function, and a unique is one within its function (G8)",
        [
            send("a", T.SUBMIT_JOB, b"f", b"u", b""),
            send("b", T.SUBMIT_JOB_BG, b"g", b"u", b""),
            send("x", T.GET_STATUS_UNIQUE, b"u"),
        ],
    ),
    "asleep again without a grab": (
        "it is woken by the next job",
        [
            *(CAN, SLEEP, send("a", T.SUBMIT_JOB_BG, b"f", b"", b""), send("x", T.CAN_DO, b"f")),
            *(send("x", T.GRAB_JOB), SLEEP, send("a", T.SUBMIT_JOB_BG, b"f", b"", b"")),
        ],
    ),
    "learnt in its sleep": (
        "when the woken one has grabbed, what it left is offered to others, whatever they knew when they went to sleep",
        [
            *[send("a", T.SUBMIT_JOB_BG, b"f", b"", b"")] * 2,
            *(CAN, SLEEP, send("x", T.CAN_DO, b"g"), send("x", T.PRE_SLEEP), send("x", T.CAN_DO, b"f"), GRAB),
        ],
    ),
    "an epoch job beside others": (
        "one that is not due keeps nobody from theirs",
        [
            send("a", T.SUBMIT_JOB_LOW_BG, b"f", b"", b""),
            send("a", T.SUBMIT_JOB_EPOCH, b"f", b"", b"4000000000", b""),
            *(CAN, GRAB),
        ],
    ),
    "an epoch job and a sleeper": (
        "nobody is woken before its second",
        [CAN, SLEEP, send("a", T.SUBMIT_JOB_EPOCH, b"f", b"", b"4000000000", b"")],
    ),
    "waiting by priority": (
        "what is not due does not wait for a worker; `status` counts it",
        [send("a", T.SUBMIT_JOB_EPOCH, b"f", b"", b"4000000000", b""), say("x", b"prioritystatus")],
    ),
    "priorities of two functions": (
        "they count across functions, as in the current text and in gearmand 2.0",
        [
            *(send("a", T.SUBMIT_JOB_HIGH_BG, b"g", b"", b""), send("a", T.SUBMIT_JOB_BG, b"f", b"", b"")),
            *(send("w", T.CAN_DO, b"g"), CAN, GRAB),
        ],
    ),
    "a worker lost with several jobs": (
        "they come back in the order in which it got them; in gearmand the last one comes first",
        [
            *(
                send("a", T.SUBMIT_JOB_BG, b"f", b"", b"1"),
                send("a", T.SUBMIT_JOB_BG, b"f", b"", b"2"),
                CAN,
                GRAB,
                GRAB,
            ),
            *(leave("w"), send("x", T.CAN_DO, b"f"), send("x", T.GRAB_JOB)),
        ],
    ),
    "a submitter asleep": (
        "it hears of its job before it is woken for it",
        [CAN, SLEEP, send("w", T.SUBMIT_JOB_BG, b"f", b"", b"")],
    ),
    "a unique too long for a reduced job": (
        "it is refused as for any other",
        [send("a", T.SUBMIT_REDUCE_JOB_BACKGROUND, b"f", b"u" * 65, b"r", b"", b"")],
    ),
    "a unique too long to be asked for": (
        "no such job; gearmand does not answer",
        [send("a", T.GET_STATUS_UNIQUE, b"u" * 65)],
    ),
    "an empty client id": ("is none", [send("w", T.SET_CLIENT_ID, b""), say("x", b"workers")]),
    "creating a function with a bare LF": (
        "gearmand creates one whose name lacks its last letter",
        [say("x", b"create function new"), say("x", b"status")],
    ),
}

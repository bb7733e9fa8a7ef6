"""Who may not come in, and what nobody can make the dashboard do."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
import structlog
import trio
from core_stage import START, Clock
from web_stage import FORM, HOST, Site, site

from gearbox import rpc
from gearbox.errors import ConfigError
from gearbox.methods.surface import SURFACE
from gearbox.settings import Settings
from gearbox.web.access import Access, Address, Http, Role, parse_http

SECRET, READER = "correct-horse-battery", "only-looking-is-allowed"
TOKENS = parse_http("0.0.0.0:4780", f"ada:{SECRET},guest:{READER}:read", "gearbox.example")[0]
LATER = (START + 5000) * 1000

pytestmark = pytest.mark.usefixtures("store_in_the_loop")


# --- the host: DNS rebinding ---


@pytest.mark.parametrize(
    "host",
    ["evil.test", "evil.test:4780", "127.0.0.1.evil.test", "localhost.evil.test", "", "10.0.0.1", "127.0.0.1@evil.test",
     "evil.test/127.0.0.1", "[::ffff:10.0.0.1]", "localhost evil", "0.0.0.0"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/healthz", "/api/status", "/static/live.js", "/live"])
async def test_a_name_that_is_not_ours_is_misdirected(
    tmp_path: Path, autojump_clock: Clock, host: str, path: str
) -> None:
    async with site(tmp_path / "db") as it:
        assert (await it.get(path, host=host)).status == 421


@pytest.mark.parametrize("host", ["127.0.0.1:4780", "localhost", "LOCALHOST:9", "[::1]:4780", "localhost."])
async def test_names_of_this_machine_are_ours(tmp_path: Path, autojump_clock: Clock, host: str) -> None:
    async with site(tmp_path / "db") as it:
        assert (await it.get("/healthz", host=host)).status == 200


def test_beyond_this_machine_addresses_and_names_from_the_settings_are_ours() -> None:
    assert TOKENS is not None
    access = Access(TOKENS, b"key", "box")
    known = ["10.0.0.5:4780", "[2001:db8::1]", "gearbox.example", "box", "0.0.0.0"]
    assert [access.is_host_known(host) for host in known] == [True] * 5
    assert not access.is_host_known("evil.test")


@pytest.mark.parametrize(
    ("named", "host"),
    [("dash.example", "dash.example:80"), ("Dash.example:8443", "dash.example:8443"), ("dash.example.", "dash.example"),
     ("[2001:db8::1]:80", "[2001:db8::1]"), ("2001:db8::1", "[2001:db8::1]:4780")],
)  # fmt: skip
def test_a_host_in_the_settings_may_have_its_port(named: str, host: str) -> None:
    http, faults = parse_http("", "", f"other.example, {named}")
    assert (http is not None, faults) == (True, [])
    assert http is not None
    access = Access(http, b"key")
    assert access.is_host_known(host)
    assert not access.is_host_known("evil.test")


@pytest.mark.parametrize("named", ["https://dash.example", "dash.example/gearbox", "a@b", "[::1", ":8443", "a b"])
def test_a_host_in_the_settings_that_is_none_is_refused(named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.from_environment({"GEARBOX_HTTP_HOSTS": f"dash.example,{named}", "XDG_STATE_HOME": "/s"})
    assert caught.value.messages == (f"GEARBOX_HTTP_HOSTS: {named!r} is not a host's name",)


# --- the origin and the form's token: forged requests ---


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.test"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_nothing_is_done_for_a_page_of_another_site(
    tmp_path: Path, autojump_clock: Clock, headers: dict[str, str]
) -> None:
    async with site(tmp_path / "db") as it:
        id = await it.system.gearbox.queue("a::b", after_date=LATER)
        assert (await it.post(f"/jobs/{id}/cancel", {}, **headers)).status == 403
        answer = await it.api("cancel", {"id": id}, **headers)
        assert (answer.status, answer.json["error"]["code"]) == (403, 403)
        assert await it.system.status_of(id) == "waiting"


@pytest.mark.parametrize("token", ["", "0" * 64, "ü"])
async def test_a_form_without_our_token_does_nothing(tmp_path: Path, autojump_clock: Clock, token: str) -> None:
    async with site(tmp_path / "db") as it:
        id = await it.system.gearbox.queue("a::b", after_date=LATER)
        assert (await it.post(f"/jobs/{id}/cancel", {"form_token": token})).status == 403
        assert await it.system.status_of(id) == "waiting"


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data", FORM, ""])
async def test_the_api_takes_json_alone_which_no_form_can_send(
    tmp_path: Path, autojump_clock: Clock, kind: str
) -> None:
    async with site(tmp_path / "db") as it:
        answer = await it.request("POST", "/api/pause", b'{"method": "a::b"}', {"content-type": kind})
        assert answer.status == 415
        assert await it.system.call("audit") == []


async def test_looking_changes_nothing(tmp_path: Path, autojump_clock: Clock) -> None:
    """Every route, by GET and HEAD: what only looks answers, what does something refuses."""
    async with site(tmp_path / "db") as it:
        id = await it.system.gearbox.queue("a::b", after_date=LATER)
        before = await it.system.call("history", {"id": id})
        for name, surface in SURFACE.items():
            if name == "watch":
                continue
            path = f"/api/{name}?id={id}&method=a::b&name=x&action=cancel&query=&until=2099-01-01"
            answer = await it.get(path)
            assert (answer.status == 405) is not surface.is_reading, name
            body = rpc.dump({"id": id, "method": "a::b", "name": "x"}).encode()
            assert (await it.request("HEAD", path, body)).status == answer.status, name
        for path in (f"/jobs/{id}/cancel", f"/jobs/{id}/run_now", "/act", "/methods/pause", "/theme", "/logout"):
            assert (await it.get(path)).status == 405, path
            assert (await it.request("HEAD", path)).status == 405, path
        assert await it.system.call("history", {"id": id}) == before
        assert await it.system.call("audit") == []


@pytest.mark.parametrize("there", ["//evil.test", "https://evil.test", "\\\\evil.test", "javascript:alert(1)", "/\nx"])
async def test_nobody_is_led_to_another_site(tmp_path: Path, autojump_clock: Clock, there: str) -> None:
    async with site(tmp_path / "db") as it:
        answer = await it.post("/theme", {"theme": "dark", "next": there})
        assert (answer.status, answer.headers["location"]) == (303, "/")


# --- tokens and roles ---


async def test_without_its_token_nobody_sees_anything(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db", TOKENS) as it:
        for path in ("/", "/jobs", "/jobs/1", "/audit", "/system", "/jobs/1/data", "/nothing"):
            answer = await it.get(path)
            assert (answer.status, answer.headers["location"][:12]) == (303, "/login?next="), path
        for path in ("/api", "/api/status", "/metrics", "/live"):
            assert (await it.get(path)).status == 401, path
        assert (await it.api("pause", {"method": "a::b"})).status == 401
        assert (await it.get("/api/status", authorization="Bearer wrong")).status == 401
        assert (await it.get("/", authorization=f"Basic {SECRET}")).status == 303
        assert (await it.get("/healthz")).status == 200


async def test_a_token_opens_the_api_and_the_pages(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db", TOKENS) as it:
        assert (await it.get("/api/status", authorization=f"Bearer {SECRET}")).json == []
        wrong = await it.post("/login", {"token": "wrong"}, page="/login")
        assert (wrong.status, "not a token" in wrong.text) == (401, True)
        right = await it.post("/login", {"token": SECRET, "next": "/audit"}, page="/login")
        assert (right.status, right.headers["location"]) == (303, "/audit")
        (cookie,) = right.cookies
        assert SECRET not in cookie
        assert {"httponly", "samesite=strict"} <= {part.strip().lower() for part in cookie.split(";")}
        assert (await it.get("/audit")).status == 200
        await it.post("/methods/pause", {"method": "a::b", "reason": "because"})
        (deed,) = await it.system.call("audit")
        assert (deed["who"], deed["action"], deed["reason"]) == ("ada@dashboard", "pause", "because")
        await it.post("/logout", {})
        assert (await it.get("/audit")).status == 303


@pytest.mark.parametrize("other", ["theme=dark", 'prefs={"a":1}', "x=a b", "flag", "a[0]=1", "big=" + "x" * 4200])
async def test_cookies_of_other_programs_on_this_host_keep_nobody_out(
    tmp_path: Path, autojump_clock: Clock, other: str
) -> None:
    async with site(tmp_path / "db", TOKENS) as it:
        await it.post("/login", {"token": SECRET}, page="/login")
        ours = f"gearbox={it.cookies.pop('gearbox')}"
        assert (await it.get("/audit", cookie=f"{other}; {ours}")).status == 200
        assert (await it.get("/audit", cookie=f"{ours}; {other}")).status == 200


async def test_a_reader_looks_and_does_nothing(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db", TOKENS) as it:
        await it.post("/login", {"token": READER}, page="/login")
        id = await it.system.gearbox.queue("a::b", after_date=LATER)
        page = (await it.get(f"/jobs/{id}")).text
        assert "Cancel job" not in page
        assert "Run now" not in page
        assert (await it.post(f"/jobs/{id}/cancel", {})).status == 403
        bearer = {"authorization": f"Bearer {READER}"}
        assert (await it.api("cancel", {"id": id}, **bearer)).status == 403
        assert (await it.api("history", {"id": id}, **bearer)).status == 200
        assert (await it.post("/theme", {"theme": "dark"})).status == 303
        assert await it.system.status_of(id) == "waiting"


@pytest.mark.parametrize("address", ["0.0.0.0:4780", "[::]:4780", "10.0.0.5:80/gearbox", "box.example:4780"])
def test_other_machines_are_let_in_with_a_token_only(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.from_environment({"GEARBOX_HTTP": address, "XDG_STATE_HOME": "/s"})
    assert "GEARBOX_HTTP_TOKEN" in caught.value.messages[0]
    http = Settings.from_environment(
        {"GEARBOX_HTTP": address, "GEARBOX_HTTP_TOKEN": SECRET, "XDG_STATE_HOME": "/s"}
    ).http
    assert http is not None
    assert [token.role for token in http.tokens] == [Role.OPERATOR]


@pytest.mark.parametrize(
    "tokens",
    [
        "short",
        "ada:short",
        "ada:correct-horse-battery:write",
        "a:b:c:d",
        "ü" * 20,
        ":correct-horse-battery",
        "ada:correct-horse-battery:read,bob:correct-horse-battery",
    ],
)
def test_a_token_that_could_be_guessed_or_misread_is_refused(tokens: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.from_environment({"GEARBOX_HTTP_TOKEN": tokens, "XDG_STATE_HOME": "/s"})
    assert tokens not in str(caught.value)
    assert SECRET not in repr(TOKENS)


# --- what jobs carry is text ---

CALL = "alert(1)"
MARKS = (
    "<script>{0}</script>", "<img src=x onerror={0}>", "<svg onload={0}>", "<svg><script>{0}</script></svg>",
    "<body onload={0}>", "<iframe src=javascript:{0}>", "<a href=javascript:{0}>x</a>", "<details open ontoggle={0}>",
    "<math><mtext></mtext><mglyph><style><img src=x onerror={0}></style></mglyph></math>",
    "<object data=javascript:{0}>", "<embed src=javascript:{0}>", "<form action=javascript:{0}><button>x</form>",
    "<input autofocus onfocus={0}>", "<video><source onerror={0}></video>", "<marquee onstart={0}>x</marquee>",
    "<style>@import 'javascript:{0}'</style>", "<link rel=stylesheet href=javascript:{0}>", "<base href=//evil.test/>",
    "<meta http-equiv=refresh content='0;url=javascript:{0}'>", "<template><script>{0}</script></template>",
    "<noscript><p title='</noscript><img src=x onerror={0}>'></noscript>", "<textarea></textarea><script>{0}</script>",
    "<title></title><script>{0}</script>", "<xmp></xmp><script>{0}</script>", "<!--><script>{0}</script>-->",
)  # fmt: skip
BREAKS = ("", '">', "'>", "</pre>", "</title>", "</a>", "--></style>", "{{{{7*7}}}}")
CORPUS = [start + mark.format(CALL) for start in BREAKS for mark in MARKS]


FOREIGN = {
    "iframe", "object", "embed", "style", "base", "math", "img", "video", "marquee", "template", "noscript", "mglyph",
    "xmp", "textarea",
}  # fmt: skip


class Elements(HTMLParser):
    """What a browser would make of a page: only elements and attributes that templates of ours have."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "script" and given.get("src") != "/static/live.js":
            self.found.append(f"a script: {given}")
        if tag in FOREIGN:
            self.found.append(tag)
        for name, value in given.items():
            if name.startswith("on") or name == "style" or value.strip().lower().startswith(("javascript:", "data:")):
                self.found.append(f"{tag} {name}={value}")


def test_there_are_two_hundred_ways_to_try() -> None:
    assert len(set(CORPUS)) == 200


async def test_nothing_that_a_job_carries_becomes_markup(tmp_path: Path, autojump_clock: Clock) -> None:
    """Every text of the corpus as method, argument, key, dedupe; some as reason, name of an entry, search."""
    async with site(tmp_path / "db") as it:
        names = [re.sub(r"\s", "_", text) for text in CORPUS]
        jobs = [
            {"name": name, "args": [CORPUS[n::20], dict.fromkeys(CORPUS[n::20], 1)], "dedupe": CORPUS[n]}
            for n, name in enumerate(names)
        ]
        ids = await it.system.gearbox.queue_many([job | {"after_date": LATER} for job in jobs])  # type: ignore[list-item]
        for id, name, text in list(zip(ids, names, CORPUS, strict=True))[::20]:
            await it.system.call("cancel", {"id": id, "reason": text})
            await it.system.call("pause", {"method": name, "reason": text})
            await it.system.call("schedule", {"name": text, "cron": "0 3 * * *", "method": name})
        pages = ["/", "/methods", "/scheduled", "/failed", "/audit", "/gearman", "/workers"]
        pages += [f"/jobs?below={below}" for below in (201, 151, 101, 51)]
        pages += [f"/jobs/{id}" for id in ids[:20]]
        for page in pages:
            await no_markup(it, page)
        for name, text in list(zip(names, CORPUS, strict=True))[::20]:
            for page in (f"/jobs?q={quote(text)}", f"/method?name={quote(name)}", f"/{quote(text)}"):
                await no_markup(it, page)


async def test_nothing_that_a_worker_answers_becomes_markup(tmp_path: Path, autojump_clock: Clock) -> None:
    """Every text of the corpus as a result, an error's message, an attempt's worker, what was done to a search."""
    async with site(tmp_path / "db") as it:
        ids = await it.system.gearbox.queue_many([{"name": "gearbox\\core::noopwait"} for _ in CORPUS])
        for id, text in zip(ids, CORPUS, strict=True):
            await it.system.gearbox.job_start(id, 1, text)
            error = {"code": text, "message": text, "data": {text: text}}
            is_result = id % 2 == 0
            data = text if is_result else error
            await it.system.gearbox.job_data(id, data=data, status="complete" if is_result else "errored", attempt=1)
        for text in CORPUS[::20]:
            await it.system.call("act", {"action": "cancel", "query": f"arg:{text.split()[0]}", "reason": text})
        pages = ["/", "/failed", "/audit", "/jobs?q=status:failed", *(f"/jobs/{id}" for id in ids)]
        for page in pages:
            await no_markup(it, page)
        data = await it.get(f"/jobs/{ids[1]}/data")
        assert data.headers["content-disposition"].startswith("attachment")


async def no_markup(it: Site, page: str) -> None:
    answer = await it.get(page)
    elements = Elements()
    elements.feed(answer.text)
    assert elements.found == [], page
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


async def test_every_answer_carries_the_headers(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        for path in ("/", "/nothing", "/api", "/healthz", "/static/style.css", "/metrics"):
            headers = (await it.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff", path
            assert headers["x-frame-options"] == "DENY", path
            assert "default-src 'self'" in headers["content-security-policy"], path
        assert (await it.get("/", host="evil.test")).headers["x-content-type-options"] == "nosniff"


# --- paths, sizes, slowness, faults ---


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/....//app.py",
     "/static/..\\app.py", "/static/%00", "/static/../../../../../../etc/passwd", "/static/", "/templates/base.html"],
)  # fmt: skip
async def test_no_file_but_ours_is_served(tmp_path: Path, autojump_clock: Clock, path: str) -> None:
    async with site(tmp_path / "db") as it:
        for one in (path, unquote(path)):
            answer = await it.get(one)
            assert answer.status in (404, 405), one
            assert b"import" not in answer.body
            assert b"root:" not in answer.body


async def test_a_large_body_is_refused(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        large = b'{"name": "' + b"x" * (1 << 20) + b'"}'
        json = {"content-type": "application/json"}
        assert (await it.request("POST", "/api/queue", large, json)).status == 413
        assert (await it.request("POST", "/theme", b"x" * (2 << 20), {"content-type": FORM})).status == 413
        assert (await it.request("POST", "/api/queue", b"{", json)).status == 400
        deep = b"[" * 100_000
        assert (await it.request("POST", "/api/queue", deep, json)).status == 400


async def test_too_many_fields_or_digits_are_no_fault_of_ours(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db", TOKENS) as it:
        with structlog.testing.capture_logs() as logs:
            fields = b"&".join(b"a%d=1" % n for n in range(60))
            answer = await it.request("POST", "/login", fields, {"content-type": FORM})
            assert (answer.status, answer.text) == (400, "too many fields.\n")
            await it.post("/login", {"token": SECRET}, page="/login")
            for digits in ("9" * 19, "9" * 20, "9" * 5000):
                for path in (f"/jobs/{digits}", f"/jobs/{digits}/export", f"/jobs/{digits}/data", f"/pools/{digits}"):
                    assert (await it.get(path)).status in (400, 404), path
                assert (await it.post(f"/jobs/{digits}/cancel", {})).status in (303, 404)
        assert [entry for entry in logs if entry["log_level"] == "error"] == []


async def test_a_body_that_comes_too_slowly_is_refused(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:

        async def receive() -> dict[str, Any]:
            await trio.sleep(1)
            return {"type": "http.request", "body": b"x", "more_body": True}

        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": "POST", "path": "/api/queue", "raw_path": b"/api/queue", "root_path": "",
            "query_string": b"", "scheme": "http", "client": None, "server": None, "http_version": "1.1",
            "headers": [(b"host", HOST.encode()), (b"content-type", b"application/json")],
        }  # fmt: skip
        began = trio.current_time()
        await it.app.asgi(scope, receive, send)  # type: ignore[arg-type]
        assert sent[0]["status"] == 408
        assert trio.current_time() - began < 15


async def test_an_error_tells_nothing_of_the_inside(
    tmp_path: Path, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path / "db") as it:

        async def fail(*_: object) -> None:
            raise ZeroDivisionError("SELECT secret FROM gearbox_jobs")

        monkeypatch.setattr(it.app.desk, "templates", None)
        monkeypatch.setattr("gearbox.methods.call", fail)
        with structlog.testing.capture_logs() as logs:
            answer = await it.get("/api/status")
        assert answer.status == 500
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["a request failed"]
        assert b"SELECT" not in answer.body
        assert b"Traceback" not in answer.body
        assert b"ZeroDivision" not in answer.body


def test_secrets_are_not_in_what_is_printed() -> None:
    http = Http(Address("0.0.0.0", 1), TOKENS.tokens if TOKENS else ())
    assert SECRET not in repr(http)

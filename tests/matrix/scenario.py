"""The scenario: what a client asks of a site, step by step, and what it has to see.

A step that goes wrong raises `Failed` with a symptom; one that has no meaning there raises `NotThere`.
Order is forced through the gate of asgi_common.py: a connection between application and client, beside
the request.
"""

import contextlib
import gzip
import hashlib
import json
import os
import select
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.matrix.clients import (
    CHUNKED,
    Connection,
    Exchange,
    Failed,
    Fields,
    Head,
    Http1,
    Http1Exchange,
    Http2,
    Http3,
    Refused,
)
from tests.servers import files, test_wsgi_servers
from tests.servers.files import MOUNT

TOGETHER = 4
FILE = bytes(range(256)) * 1000
BIG = 64 << 20
CONTENT = bytes(range(251)) * 400


class NotThere(Exception):
    """The protocol, or the application, does not have what the step is about."""


class Answer(NamedTuple):
    head: Head
    body: bytes

    @property
    def status(self) -> int:
        return self.head.status


@dataclass(frozen=True)
class Target:
    """Where the site is, and what the steps have to know of it."""

    port: int
    folder: Path
    http: str = "1.1"  # or "2", "2 with TLS", "3"
    patience: float = 10
    told: bool = False  # the application is told that its client has left while it waits
    compresses: bool = False  # a proxy in front compresses texts

    @property
    def scheme(self) -> str:
        return "https" if self.http in ("2 with TLS", "3") else "http"

    def connect(self) -> Connection:
        if self.http == "1.1":
            return Http1(self.port, self.patience)
        if self.http == "3":
            return Http3(self.port, self.patience)
        return Http2(self.port, self.patience, tls=self.http != "2")


class Gate(test_wsgi_servers.Gate):
    """The test's end of the gate, where what does not happen is a symptom."""

    @property
    def is_called(self) -> bool:
        return bool(select.select([self._listener], [], [], 0)[0])

    def begun(self, otherwise: str) -> None:
        try:
            word = self.word()
        except TimeoutError:
            raise Failed(otherwise) from None
        except AssertionError:
            raise Failed("the application leaves before it has begun") from None
        assert word == "begun"

    def left(self, otherwise: str) -> list[str]:
        """What the application says until it leaves."""
        try:
            return self.words()
        except TimeoutError:
            raise Failed(otherwise) from None


def check(condition: object, symptom: str) -> None:
    if not condition:
        raise Failed(symptom)


class Scenario:
    """The steps, for sites with the pages of tests/servers."""

    file = "/files/file.bin"

    def __init__(self, target: Target) -> None:
        self.target = target

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        connection = self.target.connect()
        try:
            yield connection
        finally:
            connection.close()

    def gate(self) -> Gate:
        return Gate(self.target.patience)

    def begin(
        self,
        connection: Connection,
        method: str,
        path: str,
        fields: Fields = (),
        body: bytes | None = None,
        chunked: bool = False,
    ) -> Exchange:
        length = None if body is None else CHUNKED if chunked else len(body)
        exchange = connection.begin(method, path, fields, length)
        if body is not None:
            step = 7777 if chunked else 1 << 16
            for start in range(0, len(body), step):
                exchange.send(body[start : start + step])
            exchange.end()
        return exchange

    def answer(self, exchange: Exchange, status: int | None = 200) -> Answer:
        head = exchange.head()
        check(status in (None, head.status), f"answered {head.status}")
        body = b""
        while piece := exchange.piece():
            body += piece
        return Answer(head, body)

    def ask(self, *request: Any, status: int | None = 200, **options: Any) -> Answer:
        """A request on a connection of its own."""
        with self.connection() as connection:
            return self.answer(self.begin(connection, *request, **options), status)

    def goes_on(self) -> None:
        """The next request is answered."""
        check(self.ask("GET", self.file).body == FILE, "the next answer is wrong")

    def check_upload(self, answer: Answer, content: bytes) -> None:
        facts = json.loads(answer.body)
        check(facts["size"] or not content, "the body arrives empty")
        digest = hashlib.sha256(content).hexdigest()
        check(facts == {"size": len(content), "digest": digest}, "the body arrives changed")

    def keep_alive(self) -> None:
        with self.connection() as connection:
            for _ in range(2):
                check(self.answer(self.begin(connection, "GET", "/")).body == b"index", "a wrong answer")
                upload = self.begin(connection, "POST", "/raw", body=b"abc")
                self.check_upload(self.answer(upload), b"abc")
                head = self.answer(self.begin(connection, "HEAD", self.file))
                check(head.body == b"", "a HEAD has a body")

    def pipelining(self) -> None:
        with self.connection() as connection:
            connection.hold()
            first = self.begin(connection, "GET", self.file)
            second = self.begin(connection, "POST", "/raw", body=b"abc")
            third = self.begin(connection, "GET", "/")
            connection.release()
            check(self.answer(first).body == FILE, "a wrong answer")
            self.check_upload(self.answer(second), b"abc")
            check(self.answer(third).body == b"index", "a wrong answer")

    def upload(self) -> None:
        for content in (CONTENT, b"x", b""):
            self.check_upload(self.ask("POST", "/raw", body=content), content)

    def chunked_upload(self) -> None:
        self.check_upload(self.ask("POST", "/raw", body=CONTENT, chunked=True), CONTENT)

    def unread_upload(self) -> None:
        answer = self.ask("POST", "/nowhere", body=CONTENT * 3, status=None)
        check(400 <= answer.status < 500, f"answered {answer.status}")
        self.goes_on()

    def expect_continue(self) -> None:
        with self.connection() as connection:
            exchange = connection.begin("POST", "/raw", [("Expect", "100-continue")], 3)
            self.continue_(exchange)
            exchange.send(b"abc")
            self.check_upload(self.answer(exchange), b"abc")

    def continue_(self, exchange: Exchange) -> None:
        if not isinstance(exchange, Http1Exchange):
            raise NotThere
        try:
            asked = exchange.any_head().status == 100
        except Failed:
            asked = False
        check(asked, "the body is not asked for")

    def range(self) -> None:
        for wanted, part in [("bytes=100-299", FILE[100:300]), ("bytes=-50", FILE[-50:])]:
            answer = self.ask("GET", self.file, [("Range", wanted)], status=206)
            first = 100 if wanted == "bytes=100-299" else len(FILE) - 50
            expected = f"bytes {first}-{first + len(part) - 1}/{len(FILE)}"
            check(answer.head.get("content-range") == expected, "a wrong Content-Range")
            check(answer.body == part, "a wrong part")

    def head(self) -> None:
        with self.connection() as connection:
            fields = [("Connection", "close")] if isinstance(connection, Http1) else []
            answer = self.answer(self.begin(connection, "HEAD", self.file, fields))
            check(answer.head.get("content-length") == str(len(FILE)), "a wrong Content-Length")
            rest = connection.some(1, end_is_fine=True) if isinstance(connection, Http1) else answer.body
            check(rest == b"", "a HEAD has a body")

    def not_modified(self) -> None:
        known = self.ask("GET", self.file).head
        conditions = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}
        fields = [
            (condition, known.get(name) or "") for name, condition in conditions.items() if known.get(name)
        ]
        check(fields, "nothing to compare")
        with self.connection() as connection:
            answer = self.answer(self.begin(connection, "GET", self.file, fields), 304)
            check(answer.body == b"", "a 304 has a body")

    def compression(self) -> None:
        accept = [("Accept-Encoding", "gzip")]
        self.check_compressed(self.ask("GET", "/text", accept), files.TEXT)
        plain = self.ask("GET", "/text")
        check(plain.head.get("content-encoding") is None, "compressed unasked")
        check(plain.body == files.TEXT, "a wrong text")
        content = gzip.compress(CONTENT)
        answer = self.ask("POST", "/raw", [("Content-Encoding", "gzip")], body=content)
        self.check_upload(answer, content)
        if self.target.compresses:
            lines = b"".join(b"%d\n" % number for number in range(200))
            self.check_compressed(self.ask("GET", "/stream", accept), lines)

    def check_compressed(self, answer: Answer, text: bytes) -> None:
        check(answer.head.get("content-encoding") == "gzip", "not compressed")
        check(gzip.decompress(answer.body) == text, "a wrong text")

    def cookies(self) -> None:
        answer = self.ask("GET", "/cookies", [("Cookie", "visits=3; other=x")])
        check(answer.body == b"4 x", "the cookies arrive changed")
        pairs = [line.partition(";")[0] for line in answer.head.all("set-cookie")]
        check(pairs == ["visits=4", "other=1"], "the cookies are not set")

    def mount(self) -> None:
        answer = self.ask("GET", f"{MOUNT}/redirect", status=None)
        check(answer.status in (302, 303), f"answered {answer.status}")
        self.check_address(answer.head.get("location") or "", f"{MOUNT}/")
        check(self.ask("GET", f"{MOUNT}/").body == b"index", "a wrong page")

    def check_address(self, address: str, path: str) -> None:
        scheme, authority, found, *_ = urlsplit(address)
        check(found == path, "the address leads somewhere else")
        host = (scheme, authority)
        check(host in {("", ""), (self.target.scheme, f"127.0.0.1:{self.target.port}")}, "another host")

    def non_ascii(self) -> None:
        answer = self.ask("GET", "/caf%C3%A9/%C3%BC?q=%E2%82%AC")
        check(answer.body.decode() == "\u00fc \u20ac", "the path arrives changed")

    def events(self) -> None:
        with self.gate() as gate, self.connection() as connection:
            exchange = self.begin(connection, "GET", f"/events?gate={gate.port}")
            head = exchange.head()
            check(head.status == 200, f"answered {head.status}")
            got = b""
            while b"data: one" not in got:
                got += self.more(exchange)
            gate.go()
            while b"data: two" not in got:
                got += self.more(exchange)
            while exchange.piece():
                pass

    def more(self, exchange: Exchange) -> bytes:
        piece = exchange.piece()
        check(piece, "the events end")
        return piece

    def cut_head(self) -> None:
        with self.gate() as gate:
            with self.connection() as connection:
                if not connection.begin_half("GET", f"/wait?gate={gate.port}"):
                    raise NotThere
            try:
                self.goes_on()
            finally:
                check(not gate.is_called, "the application is called")

    def cut_upload(self) -> None:
        with self.gate() as gate:
            with self.connection() as connection:
                exchange = connection.begin("POST", f"/half?gate={gate.port}", length=1_000_000)
                exchange.send(b"x" * 200_000)
                gate.begun(otherwise="the application is not called before the body is whole")
                exchange.cut()
                words = gate.left(otherwise="the application is not told")
            check("whole" not in words, "the application takes the body for whole")
        self.goes_on()

    def cut_wait(self) -> None:
        with self.gate() as gate:
            with self.connection() as connection:
                exchange = self.begin(connection, "GET", f"/wait?gate={gate.port}")
                gate.begun(otherwise="the application is not called")
                exchange.cut()
                if not self.target.told:
                    gate.go()
                gate.left(otherwise="the application is not told")
        self.goes_on()

    def cut_download(self) -> None:
        with self.gate() as gate:
            with self.connection() as connection:
                exchange = self.begin(connection, "GET", f"/endless?gate={gate.port}")
                check(exchange.head().status == 200 and exchange.piece(), "no answer")
                exchange.cut()
                words = gate.left(otherwise="the application is not told")
            check(words == [], "the application is not told")
        self.goes_on()

    def huge_head(self) -> None:
        for size in (6_000, 40_000, 300_000):
            with self.connection() as connection:
                try:
                    # The client for HTTP/3 has no room for a large field
                    each = 2_000 if self.target.http == "3" else size
                    fields = [(f"X-Huge-{number}", "x" * each) for number in range(size // each)]
                    exchange = self.begin(connection, "GET", self.file, fields)
                    status = exchange.head().status
                    body = b""
                    while piece := exchange.piece():
                        body += piece
                except Refused:
                    status = 431
                check(status == 200 or (400 <= status < 500 and size > 6_000), f"answered {status}")
                check(status != 200 or body == FILE, "a wrong answer")
        self.goes_on()

    def together(self) -> None:
        with contextlib.ExitStack() as stack:
            gates = [stack.enter_context(self.gate()) for _ in range(TOGETHER)]
            shared = stack.enter_context(self.connection())
            exchanges = []
            for gate in gates:
                own = isinstance(shared, Http1) and gate is not gates[0]
                connection = stack.enter_context(self.connection()) if own else shared
                exchanges.append(self.begin(connection, "GET", f"/wait?gate={gate.port}"))
            for gate in gates:
                gate.begun(otherwise="a request waits for another")
            for gate in gates:
                gate.go()
            for exchange in exchanges:
                check(self.answer(exchange).body == b"waited", "a wrong answer")


class DavScenario(Scenario):
    """The steps, for a share of WebDAV: a site that has no pages, and takes files."""

    file = "/file.bin"

    def is_open(self, name: str) -> bool:
        """Whether any process has the file open."""
        path = os.path.realpath(self.target.folder / name)
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                for descriptor in (process / "fd").iterdir():
                    with contextlib.suppress(OSError):
                        if os.readlink(descriptor) == path:
                            return True
        return False

    def until(self, condition: Callable[[], bool], symptom: str) -> None:
        deadline = time.monotonic() + self.target.patience
        while not condition():
            check(time.monotonic() < deadline, symptom)
            time.sleep(0.02)  # polls another process, which cannot tell us

    def put(self, name: str, content: bytes, fields: Fields = (), chunked: bool = False) -> None:
        answer = self.ask("PUT", name, fields, status=None, body=content, chunked=chunked)
        check(answer.status in (201, 204), f"answered {answer.status}")
        found = self.ask("GET", name).body
        check(found or not content, "the body arrives empty")
        check(found == content, "the body arrives changed")

    def keep_alive(self) -> None:
        with self.connection() as connection:
            for number in range(2):
                check(self.answer(self.begin(connection, "GET", self.file)).body == FILE, "a wrong answer")
                self.answer(self.begin(connection, "PUT", f"/{number}", body=b"abc"), 201)
                head = self.answer(self.begin(connection, "HEAD", self.file))
                check(head.body == b"", "a HEAD has a body")

    def pipelining(self) -> None:
        with self.connection() as connection:
            connection.hold()
            first = self.begin(connection, "GET", self.file)
            second = self.begin(connection, "PUT", "/pipelined", body=b"abc")
            third = self.begin(connection, "HEAD", self.file)
            connection.release()
            check(self.answer(first).body == FILE, "a wrong answer")
            self.answer(second, 201)
            self.answer(third)

    def upload(self) -> None:
        for content in (CONTENT, b"x", b""):
            self.put("/uploaded", content)

    def unread_upload(self) -> None:
        answer = self.ask("PUT", "/nowhere/at/all", body=CONTENT * 3, status=None)
        check(400 <= answer.status < 500, f"answered {answer.status}")
        self.goes_on()

    def chunked_upload(self) -> None:
        self.put("/chunked", CONTENT, chunked=True)

    def expect_continue(self) -> None:
        with self.connection() as connection:
            exchange = connection.begin("PUT", "/expected", [("Expect", "100-continue")], 3)
            self.continue_(exchange)
            exchange.send(b"abc")
            self.answer(exchange, 201)

    def compression(self) -> None:
        raise NotThere

    def cookies(self) -> None:
        raise NotThere

    def mount(self) -> None:
        raise NotThere

    def non_ascii(self) -> None:
        self.put("/%C3%BC%E2%82%AC", b"abc")
        check((self.target.folder / "\u00fc\u20ac").read_bytes() == b"abc", "the path arrives changed")

    def events(self) -> None:
        raise NotThere

    def cut_head(self) -> None:
        with self.connection() as connection:
            if not connection.begin_half("DELETE", self.file):
                raise NotThere
        self.goes_on()

    def cut_upload(self) -> None:
        with self.connection() as connection:
            exchange = connection.begin("PUT", "/cut", length=1_000_000)
            exchange.send(b"x" * 200_000)
            self.until(lambda: self.is_open("cut"), "the application is not called before the body is whole")
            exchange.cut()
            self.until(lambda: not self.is_open("cut"), "the application is not told")
        self.goes_on()

    def cut_wait(self) -> None:
        raise NotThere

    def cut_download(self) -> None:
        with self.connection() as connection:
            exchange = self.begin(connection, "GET", "/big.bin")
            check(exchange.head().status == 200 and exchange.piece(), "no answer")
            check(self.is_open("big.bin"), "the file is closed already")
            exchange.cut()
            self.until(lambda: not self.is_open("big.bin"), "the application is not told")
        self.goes_on()

    def together(self) -> None:
        raise NotThere


class Step(NamedTuple):
    method: str
    what: str  # has to hold; the page tells it


STEPS = {
    "keep-alive": Step("keep_alive", "Six requests on one connection, an upload and a HEAD among them."),
    "pipelining": Step(
        "pipelining",
        "Three requests, sent in one go, are answered in their order. Over HTTP/2 and HTTP/3: three streams "
        "at a time.",
    ),
    "upload with a length": Step("upload", "Bodies of 100 KB, one byte and none arrive as they were."),
    "chunked upload": Step(
        "chunked_upload",
        "The same for a body in chunks. Over HTTP/2 and HTTP/3: without a `Content-Length`.",
    ),
    "unread upload": Step(
        "unread_upload",
        "300 KB go to a page that is not there: the answer is a 4xx, and the next request is answered.",
    ),
    "expect-continue": Step(
        "expect_continue",
        "`Expect: 100-continue` is answered by 100, then the body by 200. HTTP/1.1.",
    ),
    "range": Step("range", "A range from the middle and one from the end give 206 and these bytes."),
    "HEAD": Step("head", "The length of the file, and no body."),
    "304": Step("not_modified", "A client that has the file already gets 304, and no body."),
    "compression": Step(
        "compression",
        "The application compresses a text where the client takes that; behind nginx, nginx does so with "
        "another. A compressed upload arrives as it was.",
    ),
    "cookies": Step("cookies", "Two cookies arrive, and two `Set-Cookie` lines leave in their order."),
    "mount": Step(
        "mount",
        "A redirect stays below the mount (`root_path`, `SCRIPT_NAME`), with the right scheme and host.",
    ),
    "non-ASCII path": Step("non_ascii", "Path and query arrive as UTF-8."),
    "server-sent events": Step("events", "The first event arrives before the second is made."),
    "huge head": Step(
        "huge_head",
        "A field of 6 KB passes; fields of 40 KB and 300 KB pass, or are refused with a 4xx (HTTP/2 and "
        "HTTP/3: or by resetting the stream or the connection).",
    ),
    "slow requests together": Step(
        "together", f"{TOGETHER} requests are in the application at the same time."
    ),
    "cut in the head": Step("cut_head", "The client leaves within the head: the application is not called."),
    "cut in the upload": Step(
        "cut_upload",
        "The client leaves within its upload, which the application is reading: it gets an error in place of "
        "the rest, and cleans up.",
    ),
    "cut while waiting": Step(
        "cut_wait",
        "The client leaves before there is an answer: the application cleans up, and an answer to nobody "
        "does no harm. `WsgiToAsgi` tells it at once; WSGI servers tell nobody before the answer.",
    ),
    "cut in the download": Step(
        "cut_download", "The client leaves an endless stream: the application's generator is closed."
    ),
}
# The first step and the last are the server's: see run.py.
START, END = "start", "end"
WHAT_HOLDS = {
    START: "The server starts, and listens.",
    **{name: step.what for name, step in STEPS.items()},
    END: "The server ends when it is told to, and has reported no lost task and no error that nobody took.",
}

"""The client: requests of every kind, and what came of each."""

import asyncio
import contextlib
import random
import socket
import time
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.soak import pages
from tests.soak.sites import Site, Window

# Far above what any request takes, all faults included, even where the machine has much else to do.
TIME_LIMIT = 240.0
# Long before a server closes idle connections.
_IDLE_SECONDS = 20.0
_USES = 200
_SLOW_BUFFER = 32 * 1024
_CUT_SECONDS = 0.05
_MAX_STACKS = 3

# What may come of a request. "whole": answered as expected. "refused": a whole answer of status 500 or 503.
# "cut": a part of the answer, and the client can tell that it is not all. "unanswered": the connection ended
# before the answer began. "left": the client itself has cut it. The others are always wrong.
WHOLE, REFUSED, CUT, UNANSWERED, LEFT = "whole", "refused", "cut", "unanswered", "left"
Expected: TypeAlias = bytes | memoryview | pages.Flood
WRONG, HUNG = "wrong", "hung"
OUTCOMES = (WHOLE, REFUSED, CUT, UNANSWERED, LEFT, WRONG, HUNG)


class WrongAnswer(Exception):
    """An answer that looks whole and is not what was expected, or not even HTTP."""


@dataclass(eq=False)
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    uses: int = 0
    idle_since: float = 0.0

    def write(self, data: bytes) -> None:
        if self.writer.is_closing():
            raise ConnectionResetError  # uvloop would raise a RuntimeError
        self.writer.write(data)

    def is_usable(self, now: float) -> bool:
        return not (
            self.uses >= _USES
            or now - self.idle_since > _IDLE_SECONDS
            or self.reader.at_eof()
            or self.writer.is_closing()
        )


async def connect(port: int, *, slow: bool = False) -> Connection:
    if not slow:
        return Connection(*await asyncio.open_connection("127.0.0.1", port))
    with contextlib.ExitStack() as stack:
        end = stack.enter_context(socket.socket())
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_BUFFER)
        end.setblocking(False)
        await asyncio.get_running_loop().sock_connect(end, ("127.0.0.1", port))
        opened = await asyncio.open_connection(sock=end, limit=_SLOW_BUFFER // 2)
        stack.pop_all()
    return Connection(*opened)


@dataclass
class Answer:
    status: int
    reusable: bool


class _Body:
    """Compares a body with what is expected, piece by piece."""

    def __init__(self, expected: Expected | None) -> None:
        self._expected = memoryview(expected) if isinstance(expected, bytes) else expected
        self._got = 0

    def feed(self, piece: bytes) -> None:
        if self._expected is not None and piece != self._expected[self._got : self._got + len(piece)]:
            raise WrongAnswer(f"another body from byte {self._got} on: {piece[:60]!r}")
        self._got += len(piece)

    def end(self) -> None:
        if self._expected is not None and self._got != len(self._expected):
            raise WrongAnswer(f"an answer that looks whole has {self._got} bytes of {len(self._expected)}")


class AnswerCut(Exception):
    """In the midst of it."""


class NoAnswer(Exception):
    """Not a byte of it."""


async def read_head(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The status, and the lines of the head in small letters."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        raise (AnswerCut if error.partial else NoAnswer) from None
    except ConnectionError:
        raise NoAnswer from None
    if head[:9] != b"HTTP/1.1 " or not head[9:12].isdigit():
        raise WrongAnswer(f"no HTTP: {head[:200]!r}")
    return int(head[9:12]), head.lower()


def _field(head: bytes, name: bytes) -> bytes | None:
    at = head.find(b"\r\n" + name + b":")
    if at < 0:
        return None
    start = at + len(name) + 3
    return head[start : head.index(b"\r\n", start)].strip()


async def read_answer(reader: asyncio.StreamReader, expected: Expected, pause: float = 0.0) -> Answer:
    """An answer to its very end; *expected* is the body if the status is 200."""
    status, head = await read_head(reader)
    while status == 100:
        status, head = await read_head(reader)
    return await _read_rest(reader, status, head, expected, pause)


async def _read_rest(
    reader: asyncio.StreamReader, status: int, head: bytes, expected: Expected, pause: float = 0.0
) -> Answer:
    body = _Body(expected if status == 200 else None)
    length = _field(head, b"content-length")
    chunked = _field(head, b"transfer-encoding") == b"chunked"
    if chunked == (length is not None):
        raise WrongAnswer(f"nothing tells the end of the body, or too much does: {head[:400]!r}")
    try:
        if length is not None:
            await _read_exactly(reader, int(length), body, pause)
        else:
            while size := int((await _line(reader)), 16):
                await _read_exactly(reader, size, body, pause)
                if await _line(reader) != b"":
                    raise WrongAnswer("a chunk does not end where it should")
            if await _line(reader) != b"":
                raise WrongAnswer("no empty line after the last chunk")
    except (asyncio.IncompleteReadError, ConnectionError):
        raise AnswerCut from None
    body.end()
    return Answer(status, _field(head, b"connection") != b"close")


async def _line(reader: asyncio.StreamReader) -> bytes:
    line = await reader.readline()
    if not line.endswith(b"\r\n"):
        raise AnswerCut
    return line[:-2]


async def _read_exactly(reader: asyncio.StreamReader, size: int, body: _Body, pause: float) -> None:
    while size:
        piece = await reader.read(min(size, 65536 if not pause else _SLOW_BUFFER // 2))
        if not piece:
            raise AnswerCut
        body.feed(piece)
        size -= len(piece)
        if pause:
            await asyncio.sleep(pause)


@dataclass
class Call:
    """One request."""

    site: Site
    kind: str
    number: int
    chance: random.Random
    expected: frozenset[str]
    begin: float

    def head(self, page: str, *arguments: int, more: str = "", method: str = "GET") -> bytes:
        query = ",".join(map(str, (self.number, *arguments)))
        return f"{method} /{page}?{query} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode()


@dataclass
class Totals:
    """What came of all requests. *wrong* is empty when all is well."""

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)  # by kind
    excused: Counter[str] = field(default_factory=Counter)  # by fault and outcome
    # Of answered requests, by kind: of all, and of those during which there was no fault.
    seconds: dict[str, "array[float]"] = field(default_factory=dict)
    quiet_seconds: dict[str, "array[float]"] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    # By number: the kind and what came of it, as indexes; number 0 is none.
    kind_of: bytearray = field(default_factory=lambda: bytearray(1))
    outcome_of: bytearray = field(default_factory=lambda: bytearray(1))
    site_of: bytearray = field(default_factory=lambda: bytearray(1))
    # Requests that were excused, but for which the application must not have been entered: by which fault.
    unless_entered: dict[int, str] = field(default_factory=dict)
    stacks: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return len(self.kind_of) - 1


class Client:
    """Sends requests of chance to *sites*."""

    def __init__(self, sites: list[Site], seed: int, totals: Totals, time_limit: float = TIME_LIMIT) -> None:
        self.sites = sites
        self.totals = totals
        self.time_limit = time_limit
        self.chance = random.Random(seed)
        self.active = 0
        self._idle: dict[str, list[Connection]] = {site.name: [] for site in sites}
        self._news = asyncio.Event()

    # Calls

    async def call(self, site: Site, kind: str) -> str:
        """Make one request; what came of it."""
        totals = self.totals
        number = len(totals.kind_of)
        totals.kind_of.append(KIND_NAMES.index(kind))
        totals.outcome_of.append(255)  # none yet
        totals.site_of.append(self.sites.index(site))
        call = Call(site, kind, number, self.chance, KINDS[kind].expected, time.monotonic())
        self.active += 1
        problem = ""
        try:
            async with asyncio.timeout(self.time_limit):
                outcome = await KINDS[kind].make(self, call)
        except TimeoutError:
            outcome = HUNG
            if len(totals.stacks) < _MAX_STACKS:
                totals.stacks.append(await site.stacks())
        except WrongAnswer as error:
            outcome, problem = WRONG, str(error)
        except AnswerCut:
            outcome = CUT
        except ConnectionRefusedError:
            # The master listens all the time, until it is to end.
            outcome, problem = (UNANSWERED if site.told_to_end else WRONG), "the connection was refused"
            site.refuses = site.told_to_end
        except (NoAnswer, ConnectionError):
            outcome = UNANSWERED
        except Exception as error:
            outcome, problem = WRONG, repr(error)
        finally:
            self.active -= 1
            self._news.set()
        self._record(call, outcome, problem)
        return outcome

    def _record(self, call: Call, outcome: str, problem: str) -> None:
        totals, now = self.totals, time.monotonic()
        totals.outcome_of[call.number] = OUTCOMES.index(outcome)
        totals.outcomes.setdefault(call.kind, Counter())[outcome] += 1
        if outcome in (WHOLE, REFUSED, CUT) and KINDS[call.kind].timed:
            totals.seconds.setdefault(call.kind, array("d")).append(now - call.begin)
            if not any(w.end >= call.begin and w.begin <= now for w in call.site.windows[-2:]):
                totals.quiet_seconds.setdefault(call.kind, array("d")).append(now - call.begin)
        if outcome in call.expected:
            return
        if outcome not in (WRONG, HUNG):
            window = self._excuse(call, outcome, now)
            if window is not None:
                totals.excused[f"{window.fault}: {outcome}"] += 1
                if window.unless_entered:
                    totals.unless_entered[call.number] = window.fault
                return
        recent = [(w.fault, round(w.begin - now, 2), round(w.end - now, 2)) for w in call.site.windows[-3:]]
        totals.wrong.append(
            f"{call.site.name}: request {call.number} ({call.kind}) is {outcome} after "
            f"{now - call.begin:.3f} s; {problem} the last faults: {recent}"
        )

    def _excuse(self, call: Call, outcome: str, now: float) -> Window | None:
        for window in reversed(call.site.windows):
            if window.end < call.begin:
                continue  # those before may have ended later
            if (
                window.begin <= now
                and outcome in window.allows
                and (window.only is None or call.kind in window.only)
            ):
                return window
        return None

    # Connections

    async def take(self, call: Call, *, fresh: bool = False) -> Connection:
        idle = self._idle[call.site.name]
        now = time.monotonic()
        while idle and not fresh:
            connection = idle.pop()
            if connection.is_usable(now):
                connection.uses += 1
                return connection
            connection.writer.close()
        return await connect(call.site.port)

    def give_back(self, call: Call, connection: Connection, answer: Answer) -> None:
        if answer.reusable:
            connection.idle_since = time.monotonic()
            self._idle[call.site.name].append(connection)
        else:
            connection.writer.close()

    async def exchange(self, call: Call, request: bytes, expected: Expected, *, fresh: bool = False) -> str:
        """Send a small request, and read its answer."""
        connection = await self.take(call, fresh=fresh)
        try:
            connection.write(request)
            answer = await read_answer(connection.reader, expected)
        except BaseException:
            connection.writer.transport.abort()
            raise
        self.give_back(call, connection, answer)
        return outcome_of(answer)

    async def close_idle(self) -> None:
        for idle in self._idle.values():
            for connection in idle:
                connection.writer.close()
            idle.clear()

    async def until_idle(self) -> None:
        """Wait until no request is under way, and close the connections."""
        while self.active:
            self._news.clear()
            await self._news.wait()
        await self.close_idle()


def outcome_of(answer: Answer) -> str:
    if answer.status == 200:
        return WHOLE
    if answer.status in (500, 503):
        return REFUSED
    raise WrongAnswer(f"the status is {answer.status}")


# The kinds of requests


async def _hello(client: Client, call: Call) -> str:
    return await client.exchange(call, call.head("hello"), pages.hello(call.number))


async def _fresh(client: Client, call: Call) -> str:
    return await client.exchange(call, call.head("hello"), pages.hello(call.number), fresh=True)


async def _post(client: Client, call: Call) -> str:
    body = bytes(pages.body_of(call.number, call.chance.randrange(1, 2000)))
    head = call.head("post", more=f"Content-Length: {len(body)}\r\n", method="POST")
    return await client.exchange(call, head + body, pages.hello(call.number) + body)


async def _wait(client: Client, call: Call) -> str:
    request = call.head("wait", call.chance.randrange(5, 200))
    return await client.exchange(call, request, pages.hello(call.number))


async def _background(client: Client, call: Call) -> str:
    return await client.exchange(call, call.head("background"), pages.hello(call.number))


async def _send_body(
    connection: Connection, body: memoryview, piece: int, *, chunked: bool, pause: float = 0.0
) -> None:
    for start in range(0, len(body), piece):
        part = bytes(body[start : start + piece])
        connection.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
        await connection.writer.drain()
        if pause:
            await asyncio.sleep(pause)
    if chunked:
        connection.write(b"0\r\n\r\n")


async def _send_and_read(
    client: Client,
    call: Call,
    page: str,
    size: int,
    expected: Expected,
    *,
    piece: int = 65536,
    pause: float = 0.0,
    wait_for_continue: bool = False,
) -> str:
    chunked = call.chance.random() < 0.5
    framing = "Transfer-Encoding: chunked\r\n" if chunked else f"Content-Length: {size}\r\n"
    if wait_for_continue:
        framing += "Expect: 100-continue\r\n"
    connection = await client.take(call)
    try:
        head = call.head(page, more=framing, method="POST")
        if pause:
            middle = len(head) // 2
            connection.write(head[:middle])
            await asyncio.sleep(pause)
            head = head[middle:]
        connection.write(head)
        if wait_for_continue:
            status, lines = await read_head(connection.reader)
            if status != 100:
                answer = await _read_rest(connection.reader, status, lines, b"")
                connection.writer.close()  # the server may wait for the body, or not
                return outcome_of(answer)
        try:
            await _send_body(
                connection, pages.body_of(call.number, size), piece, chunked=chunked, pause=pause
            )
        except ConnectionError:
            pass  # an answer may have come before
        answer = await read_answer(connection.reader, expected)
    except BaseException:
        connection.writer.transport.abort()
        raise
    client.give_back(call, connection, answer)
    return outcome_of(answer)


async def _upload(client: Client, call: Call) -> str:
    size = int(2 ** call.chance.uniform(10, 21))
    return await _send_and_read(client, call, "upload", size, pages.expected_receipt(call.number, size))


async def _upload_on_demand(client: Client, call: Call) -> str:
    size = int(2 ** call.chance.uniform(10, 18))
    expected = pages.expected_receipt(call.number, size)
    return await _send_and_read(client, call, "upload", size, expected, wait_for_continue=True)


async def _slow_upload(client: Client, call: Call) -> str:
    size = call.chance.randrange(50_000, 300_000)
    expected = pages.expected_receipt(call.number, size)
    pause = call.chance.uniform(0.05, 0.2)
    return await _send_and_read(client, call, "upload", size, expected, piece=size // 15, pause=pause)


async def _spool(client: Client, call: Call) -> str:
    size = int(2 ** call.chance.uniform(14, 20))
    return await _send_and_read(client, call, "spool", size, pages.body_of(call.number, size))


async def _download(client: Client, call: Call) -> str:
    size = int(2 ** call.chance.uniform(10, 22))
    request = call.head("download", size, call.chance.randrange(2))
    return await client.exchange(call, request, pages.body_of(call.number, size))


async def _slow_download(client: Client, call: Call) -> str:
    size = call.chance.randrange(3 << 20, 6 << 20)
    connection = await connect(call.site.port, slow=True)
    try:
        connection.write(call.head("download", size, call.chance.randrange(2)))
        answer = await read_answer(connection.reader, pages.body_of(call.number, size), pause=0.008)
        return outcome_of(answer)
    finally:
        connection.writer.transport.abort()


async def _events(client: Client, call: Call) -> str:
    count = call.chance.randrange(5, 40)
    request = call.head("events", count, call.chance.randrange(5, 80))
    return await client.exchange(call, request, pages.events(call.number, count))


async def _memory(client: Client, call: Call) -> str:
    return await client.exchange(call, call.head("memory", 512), pages.hello(call.number))


async def _stall(client: Client, call: Call) -> str:
    return await client.exchange(call, call.head("stall", 2000), pages.hello(call.number))


async def _long_stall(client: Client, call: Call) -> str:
    return await client.exchange(call, call.head("stall", 8000), pages.hello(call.number))


async def _fail_before(client: Client, call: Call) -> str:
    return await client.exchange(call, call.head("fail_before"), b"")


async def _fail_amid(client: Client, call: Call) -> str:
    size = int(2 ** call.chance.uniform(1, 20))
    request = call.head("fail_amid", size, call.chance.randrange(2))
    return await client.exchange(call, request, pages.body_of(call.number, size))


async def _fail_after(client: Client, call: Call) -> str:
    # uvicorn closes the connection when the error comes, which may be after the next request was sent.
    request = call.head("fail_after", more="Connection: close\r\n")
    return await client.exchange(call, request, pages.hello(call.number))


async def _breach(client: Client, call: Call) -> str:
    breaches = list(call.site.kind.breaches.items())
    index = call.chance.randrange(len(breaches))
    name, wanted = breaches[index]
    expected: Expected = pages.hello(call.number)
    if wanted == CUT:
        # What comes before the breach; there is none where the client has it all.
        expected = pages.body_of(call.number, pages.CHUNK) if "length" in name else bytes(pages.CHUNK)
    call.expected = frozenset({wanted})
    return await client.exchange(call, call.head("breach", index), expected)


async def _leave(call: Call, connection: Connection) -> str:
    """Cut the connection: in good order, or without sending what waits."""
    if call.chance.random() < 0.3:
        connection.writer.close()
    else:
        connection.writer.transport.abort()
    return LEFT


async def _cut_head(client: Client, call: Call) -> str:
    connection = await connect(call.site.port)
    request = call.head("hello")
    connection.write(request[: call.chance.randrange(0, len(request))])
    await asyncio.sleep(call.chance.uniform(0, _CUT_SECONDS))
    return await _leave(call, connection)


async def _cut_upload(client: Client, call: Call) -> str:
    connection = await connect(call.site.port)
    page = call.chance.choice(["upload", "spool", "post"])
    request = call.head(page, more="Content-Length: 500000\r\n", method="POST")
    connection.write(request + bytes(pages.body_of(call.number, call.chance.randrange(0, 400_000))))
    await asyncio.sleep(call.chance.uniform(0, _CUT_SECONDS))
    return await _leave(call, connection)


async def _cut_wait(client: Client, call: Call) -> str:
    connection = await connect(call.site.port)
    connection.write(call.head("wait", call.chance.randrange(20, 200)))
    await asyncio.sleep(call.chance.uniform(0, _CUT_SECONDS))
    return await _leave(call, connection)


async def _cut_download(client: Client, call: Call) -> str:
    connection = await connect(call.site.port)
    connection.write(call.head("download", 6 << 20, call.chance.randrange(2)))
    with contextlib.suppress(ConnectionError):
        await connection.reader.read(call.chance.randrange(1, 1 << 18))
    return await _leave(call, connection)


async def _cut_events(client: Client, call: Call) -> str:
    connection = await connect(call.site.port)
    connection.write(call.head("events", 60, 20))
    with contextlib.suppress(ConnectionError):
        await connection.reader.read(call.chance.randrange(1, 1000))
    await asyncio.sleep(call.chance.uniform(0, _CUT_SECONDS))
    return await _leave(call, connection)


async def _cut_failing(client: Client, call: Call) -> str:
    connection = await connect(call.site.port)
    connection.write(call.head(call.chance.choice(["fail_before", "fail_after"])))
    return await _leave(call, connection)


@dataclass(frozen=True)
class KindOfCall:
    make: Callable[[Client, Call], Awaitable[str]]
    weight: int  # how many of 10,000 requests are of this kind
    expected: frozenset[str] = frozenset({WHOLE})
    heavy: bool = False
    timed: bool = True


_ANY = frozenset({LEFT, UNANSWERED})
KINDS: dict[str, KindOfCall] = {
    "hello": KindOfCall(_hello, 7000),
    "hello on a new connection": KindOfCall(_fresh, 300),
    "post": KindOfCall(_post, 1000),
    "wait": KindOfCall(_wait, 200),
    "background": KindOfCall(_background, 200),
    "upload": KindOfCall(_upload, 150),
    "upload on demand": KindOfCall(_upload_on_demand, 50),
    "slow upload": KindOfCall(_slow_upload, 25, heavy=True),
    "spool": KindOfCall(_spool, 60),
    "download": KindOfCall(_download, 150),
    "slow download": KindOfCall(_slow_download, 15, heavy=True),
    "events": KindOfCall(_events, 40, heavy=True),
    "fail before": KindOfCall(_fail_before, 60, frozenset({REFUSED})),
    "fail amid": KindOfCall(_fail_amid, 60, frozenset({CUT})),
    "fail after": KindOfCall(_fail_after, 60),
    "breach": KindOfCall(_breach, 80),
    "cut in head": KindOfCall(_cut_head, 80, _ANY, timed=False),
    "cut in upload": KindOfCall(_cut_upload, 80, _ANY, timed=False),
    "cut in wait": KindOfCall(_cut_wait, 80, _ANY, timed=False),
    "cut in download": KindOfCall(_cut_download, 80, _ANY, timed=False),
    "cut in events": KindOfCall(_cut_events, 80, _ANY, timed=False),
    "cut while failing": KindOfCall(_cut_failing, 80, _ANY, timed=False),
    # Sent by faults alone.
    "memory": KindOfCall(_memory, 0),
    "stall": KindOfCall(_stall, 0),
    "long stall": KindOfCall(_long_stall, 0),
}
KIND_NAMES = list(KINDS)

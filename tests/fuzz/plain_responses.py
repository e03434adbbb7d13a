"""What may follow what in a response, and what comes of it: the specifications in the plainest way.

`PlainWsgiResponse` is for a WSGI application on an ASGI server, `PlainAsgiResponse` for the other way round.
They share nothing with the code that is tested.
"""

from http import HTTPStatus
from typing import Any

from asgiadapt import ApplicationOrderError, ApplicationTypeError, ApplicationValueError
from tests.fuzz.plain_heads import CONTROLS, DIGITS, TOKEN

# W2A-RESP-19
CONNECTION = [
    "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te",
    "trailer", "trailers", "transfer-encoding", "upgrade",
]  # fmt: skip
BODILESS = (204, 205, 304)


class Wrong(Exception):
    """The application broke a rule; *kind* is the class of what it is told."""

    def __init__(self, kind: type[Exception]) -> None:
        super().__init__(kind.__name__)
        self.kind = kind


def unless(holds: object, kind: type[Exception]) -> None:
    if not holds:
        raise Wrong(kind)


def plain_length(text: str) -> int:
    unless(text and DIGITS.issuperset(text) and len(text) <= 20, ApplicationValueError)
    return int(text)


# Of a WSGI application


class PlainWsgiResponse:
    """PEP 3333 for one response, in the methods of `WsgiResponse`; `Wrong` is what they raise."""

    def __init__(self, method: str, strict: bool, add_content_length: bool, may_have_trailers: bool) -> None:
        self.method = method
        self.strict = strict
        self.add_content_length = add_content_length
        self.may_have_trailers = may_have_trailers
        self.called = False
        self.status: int | None = None  # of the head that stands
        self.fields: list[tuple[bytes, bytes]] = []
        self.length: int | None = None
        self.announced = False  # trailers are, by a field
        self.trailers: list[tuple[bytes, bytes]] | None = None
        self.committed = self.done = False
        self.sent = 0
        self.past: type[Exception] | None = None

    def has_body(self) -> bool:
        return self.method != "HEAD" and self.status not in BODILESS

    def room(self) -> int | None:
        """Bytes that may still be sent, None for no limit."""
        if self.length is None or not self.has_body() or self.status is None:
            return None
        return self.length - self.sent

    def start(self, line: Any, headers: Any, exc_info: Any) -> None:
        if exc_info is None:
            unless(not self.called, ApplicationOrderError)  # W2A-RESP-23
        else:
            unless(isinstance(exc_info, tuple), ApplicationTypeError)  # W2A-RESP-26
            if self.committed:
                unless(exc_info[1] is not None, ApplicationOrderError)
                raise Wrong(type(exc_info[1]))  # W2A-RESP-25
        self.called = True
        unless(isinstance(line, str), ApplicationTypeError)
        unless(len(line) >= 3 and DIGITS.issuperset(line[:3]), ApplicationValueError)  # W2A-RESP-10
        unless(line[3:4] in ("", " ") and not CONTROLS.union("\t").intersection(line), ApplicationValueError)
        unless(int(line[:3]) >= 200, ApplicationValueError)  # W2A-RESP-12
        status = int(line[:3])
        unless(isinstance(headers, list | tuple), ApplicationTypeError)
        fields: list[tuple[bytes, bytes]] = []
        length = None
        announced = False
        for header in headers:
            name, text = self.plain_pair(header)
            its_point = name == "proxy-authenticate" and status == 407 and not self.strict
            if name in CONNECTION and not its_point:
                unless(not self.strict, ApplicationValueError)  # W2A-RESP-19
                announced = announced or name == "trailer"
                continue
            if name == "status":
                unless(not self.strict, ApplicationValueError)  # W2A-RESP-22
            if name == "content-length":
                given = plain_length(text)  # W2A-RESP-20
                if length is not None:
                    unless(length == given, ApplicationValueError)
                    continue
                length = given
            fields.append((name.encode(), text.encode("latin-1")))
        self.status, self.fields, self.length, self.announced = status, fields, length, announced

    def plain_pair(self, header: Any) -> tuple[str, str]:
        unless(isinstance(header, list | tuple) and len(header) == 2, ApplicationTypeError)
        name, text = header
        unless(isinstance(name, str), ApplicationTypeError)
        unless(name and TOKEN.issuperset(name), ApplicationValueError)  # W2A-RESP-15
        unless(isinstance(text, str), ApplicationTypeError)
        unless(not CONTROLS.intersection(text), ApplicationValueError)
        unless(all(char <= "\xff" for char in text), ApplicationValueError)  # W2A-RESP-14
        return name.lower(), text.strip(" \t")

    def commit(self, whole: int | None = None) -> list[Any]:
        if self.committed:
            return []
        unless(self.status is not None, ApplicationOrderError)  # W2A-RESP-36
        self.committed = True
        fields = list(self.fields)
        if self.status == 204 or (self.status == 205 and self.length):
            fields = [field for field in fields if field[0] != b"content-length"]  # W2A-RESP-53
        if self.add_content_length and whole is not None and self.length is None and self.has_body():
            fields.append((b"content-length", b"%d" % whole))  # W2A-RESP-44
        event = {"type": "http.response.start", "status": self.status, "headers": fields}
        if self.may_have_trailers and (self.announced or self.trailers is not None):
            event["trailers"] = True
            self.trailers = self.trailers or []
        return [event]

    def chunk(self, data: Any, only: bool) -> list[Any]:
        unless(isinstance(data, bytes), ApplicationTypeError)  # W2A-RESP-45
        if self.done or not data:
            return []  # W2A-RESP-37 to -39
        events = self.commit(len(data) if only else None)
        if not self.has_body():
            return events  # W2A-RESP-52
        room = self.room()
        if room is not None:
            data = data[:room]  # W2A-RESP-50
        self.sent += len(data)
        last = only if room is None else room == len(data)
        events.append({"type": "http.response.body", "body": data, "more_body": not last})
        return events + (self.finished() if last else [])

    def finished(self) -> list[Any]:
        self.done = True
        if self.trailers is None:
            return []
        return [{"type": "http.response.trailers", "headers": list(self.trailers)}]

    def write(self, data: Any) -> list[Any]:
        """The events; ``past`` is the error that follows them, where *data* is too long (W2A-RESP-33)."""
        unless(isinstance(data, bytes), ApplicationTypeError)
        room = self.room()
        self.past = ApplicationValueError if room is not None and len(data) > room else None
        if self.done:
            return []
        return self.chunk(data, False) if data else self.commit()

    def end(self) -> list[Any]:
        if self.done:
            return []
        unless(not self.room(), ApplicationValueError)  # W2A-RESP-51
        events = self.commit()
        events.append({"type": "http.response.body", "body": b"", "more_body": False})  # W2A-RESP-42
        return events + self.finished()

    def early_hint(self, headers: Any) -> list[Any]:
        pairs = [self.plain_pair(pair) for pair in headers]
        links = [text.encode("latin-1") for name, text in pairs if name == "link"]
        if not links or self.committed:
            return []
        return [{"type": "http.response.early_hint", "links": links}]

    def set_trailers(self, headers: Any) -> None:
        pairs = [self.plain_pair(pair) for pair in headers]
        unless(not self.committed or (self.trailers is not None and not self.done), ApplicationOrderError)
        self.trailers = [(name.encode(), text.encode("latin-1")) for name, text in pairs]

    def file(self, event: Any, size: int) -> Any:
        if self.status is None or self.committed or not self.has_body() or self.trailers is not None:
            return None
        if self.length not in (None, size):
            return None
        events = self.commit()
        self.done = True
        return [*events, event]


# Of an ASGI application

# Extensions, and the functions of the environ that they stand for.
OFFERS = {
    "http.response.early_hint": "wsgi.early_hints",
    "http.response.debug": "asgiadapt.debug",
    "http.response.pathsend": "wsgi.file_wrapper",
}
PHRASES = {status.value: status.phrase for status in HTTPStatus}


class PlainAsgiResponse:
    """ASGI for one response, of a server that has WSGI below it."""

    def __init__(self, method: str, offered: Any, add_content_length: bool) -> None:
        self.method = method
        self.offered = offered
        self.add_content_length = add_content_length
        self.status: int | None = None
        self.fields: list[tuple[str, str]] = []
        self.length: int | None = None
        self.committed = self.done = False
        self.complete = False  # for the client
        self.sent = 0

    def has_body(self) -> bool:
        return self.method != "HEAD" and self.status not in BODILESS

    def send(self, message: Any) -> list[Any]:
        if self.done:
            return []  # A2W-SEND-21
        unless(isinstance(message, dict), ApplicationTypeError)
        kind = message.get("type")
        unless(isinstance(kind, str), ApplicationValueError)
        if kind == "http.response.start":
            return self.start(message)
        if kind == "http.response.body":
            return self.body(message)
        unless(kind in OFFERS and kind in self.offered, ApplicationOrderError)  # A2W-SEND-27
        if kind == "http.response.early_hint":
            unless(not self.committed, ApplicationOrderError)  # A2W-SEND-29
            links = message.get("links", ())
            unless(isinstance(links, list | tuple), ApplicationTypeError)
            texts = [("Link", self.plain_value(link)) for link in links]
            return [("call", OFFERS[kind], texts)] if texts else []
        if kind == "http.response.pathsend":
            unless(self.status is not None and not self.committed, ApplicationOrderError)  # A2W-SEND-30
            unless(isinstance(message.get("path"), str), ApplicationTypeError)
            return [("file", message["path"])]
        return [("call", OFFERS[kind], message.get("info"))]

    def plain_value(self, raw: Any) -> str:
        unless(isinstance(raw, bytes), ApplicationTypeError)
        text = str(raw.decode("latin-1"))
        unless(not CONTROLS.intersection(text), ApplicationValueError)
        return text.strip(" \t")

    def start(self, message: Any) -> list[Any]:
        unless(self.status is None, ApplicationOrderError)  # A2W-SEND-14
        status = message.get("status")
        unless(isinstance(status, int) and not isinstance(status, bool), ApplicationTypeError)
        unless(200 <= status <= 999, ApplicationValueError)  # A2W-SEND-06
        headers = message.get("headers", ())
        unless(isinstance(headers, list | tuple), ApplicationTypeError)
        fields: list[tuple[str, str]] = []
        length = None
        for header in headers:
            unless(isinstance(header, list | tuple) and len(header) == 2, ApplicationTypeError)
            raw_name, raw_value = header
            unless(isinstance(raw_name, bytes), ApplicationTypeError)  # A2W-SEND-09
            text = self.plain_value(raw_value)
            name = raw_name.decode("latin-1")
            unless(name and TOKEN.issuperset(name), ApplicationValueError)  # A2W-SEND-10
            if name.lower() in CONNECTION and not (name.lower() == "proxy-authenticate" and status == 407):
                continue  # A2W-SEND-12, -13
            if name.lower() == "content-length":
                given = plain_length(text)
                if length is not None:
                    unless(length == given, ApplicationValueError)
                    continue
                length = given
            fields.append((name, text))
        self.status, self.fields, self.length = int(status), fields, length
        return []

    def head(self, whole: int | None) -> Any:
        self.committed = True
        fields = list(self.fields)
        if self.status == 204 or (self.status == 205 and self.length):
            fields = [field for field in fields if field[0].lower() != "content-length"]
        elif self.add_content_length and whole is not None and self.length is None and self.has_body():
            fields.append(("content-length", str(whole)))
        return ("head", f"{self.status} {PHRASES.get(self.status or 0, 'Unknown')}", fields)

    def body(self, message: Any) -> list[Any]:
        unless(self.status is not None, ApplicationOrderError)  # A2W-SEND-18
        data, more = message.get("body", b""), message.get("more_body", False)
        unless(isinstance(data, bytes | bytearray | memoryview), ApplicationTypeError)  # A2W-SEND-17
        data = bytes(data)
        if self.has_body() and self.length is not None:
            unless(self.sent + len(data) <= self.length, ApplicationValueError)  # A2W-SEND-26
            self.sent += len(data)
            if not more and self.sent < self.length:
                self.done = self.complete = True
                return [ApplicationValueError]
        parts = [] if self.committed else [self.head(None if more else len(data))]
        self.done = not more
        self.complete = self.done or not self.has_body()
        if self.has_body() and (data or more):
            parts.append(data)  # A2W-SEND-16, -19
        return parts

    def file(self, size: int) -> list[Any]:
        if self.has_body() and self.length is not None:
            unless(self.length - self.sent == size, ApplicationValueError)
        self.done = self.complete = True
        return [self.head(size)]

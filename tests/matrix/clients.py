"""Clients for HTTP/1.1, HTTP/2 and HTTP/3 with one face, that take nothing for granted.

A connection begins requests; an exchange is one request with its answer, piece by piece. What goes wrong is a
`Failed` whose text is the same in every run: the symptom, by which two servers or two runs can be compared.
"""

import re
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

Fields = Iterable[tuple[str, str]]
CHUNKED = -1
ENDED = "the connection ends"
SILENT = "no answer in time"
CANCELLED = {"2": 0x8, "3": 0x10C}  # the codes for a request that the client gives up


class Failed(Exception):
    """What the client has seen instead of what it should have seen."""


class Refused(Failed):
    """The server has said by means of the protocol that it does not take the request."""


class Head(NamedTuple):
    status: int
    fields: list[tuple[str, str]]  # names in lower case

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]

    def get(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)


class Exchange(Protocol):
    def send(self, data: bytes) -> None:
        """Send a piece of the request's body."""

    def end(self) -> None:
        """Say that the body was whole."""

    def head(self) -> Head:
        """Wait for the head of the response, past those with 1xx."""

    def piece(self) -> bytes:
        """Wait for more of the response's body; ``b""`` is its end."""

    def cut(self) -> None:
        """Give the request up, as a browser does when it is told to stop."""


class Connection(Protocol):
    def begin(self, method: str, path: str, fields: Fields = (), length: int | None = None) -> Exchange:
        """Send a head. *length* is that of the body that follows; CHUNKED for one that will be seen."""

    def begin_half(self, method: str, path: str) -> bool:
        """Send half of a head, and close the connection; whether that can be done."""

    def hold(self) -> None:
        """Keep back what is sent from now on, to send it all at once."""

    def release(self) -> None:
        """Send what was kept back."""

    def close(self) -> None: ...


class Http1Exchange:
    def __init__(self, connection: "Http1", method: str, chunked: bool) -> None:
        self._connection = connection
        self._method = method
        self._chunked = chunked
        self._left: int | None = 0  # of the body, or of the chunk; None: until the connection ends
        self._in_chunks = False

    def send(self, data: bytes) -> None:
        self._connection.send(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data)

    def end(self) -> None:
        if self._chunked:
            self._connection.send(b"0\r\n\r\n")

    def any_head(self) -> Head:
        """The next head, also one with 1xx."""
        lines = self._connection.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.[01] (\d{3})( .*)?", lines[0])
        if match is None:
            raise Failed("the answer does not begin with a status line")
        pairs = [line.partition(":") for line in lines[1:-2]]
        return Head(int(match[1]), [(name.lower(), value.strip()) for name, _, value in pairs])

    def head(self) -> Head:
        if self._connection.closes:
            raise Failed(ENDED)
        while (head := self.any_head()).status < 200:
            pass
        self._connection.closes = (head.get("connection") or "").lower() == "close"
        length = head.get("content-length")
        self._in_chunks = (head.get("transfer-encoding") or "").lower() == "chunked"
        if self._method == "HEAD" or head.status in (204, 304):
            self._left, self._in_chunks = 0, False
        elif self._in_chunks:
            self._left = 0
        else:
            self._left = None if length is None else int(length)
        return head

    def _next_chunk(self) -> None:
        line = self._connection.until(b"\r\n").decode("latin-1").partition(";")[0].strip()
        if not re.fullmatch("[0-9a-fA-F]+", line):
            raise Failed("the chunks of the answer are broken")
        self._left = int(line, 16)
        if self._left == 0:
            while self._connection.until(b"\r\n") != b"\r\n":
                pass  # a trailer
            self._in_chunks = False

    def piece(self) -> bytes:
        if self._left is None:
            return self._connection.some(1 << 20, end_is_fine=True)
        if self._left == 0 and self._in_chunks:
            self._next_chunk()
        if self._left == 0:
            return b""
        piece = self._connection.some(self._left)
        self._left -= len(piece)
        if self._left == 0 and self._in_chunks and self._connection.until(b"\r\n") != b"\r\n":
            raise Failed("the chunks of the answer are broken")
        return piece

    def cut(self) -> None:
        self._connection.close()


class Http1:
    """A connection on which the answers come in the order of the requests."""

    def __init__(self, port: int, patience: float) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=patience)
        self._host = f"127.0.0.1:{port}"
        self._got = b""
        self._held: list[bytes] | None = None
        self.closes = False  # the server has said so

    def begin(self, method: str, path: str, fields: Fields = (), length: int | None = None) -> Http1Exchange:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}"]
        lines += [f"{name}: {value}" for name, value in fields]
        if length == CHUNKED:
            lines.append("Transfer-Encoding: chunked")
        elif length is not None:
            lines.append(f"Content-Length: {length}")
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        return Http1Exchange(self, method, length == CHUNKED)

    def begin_half(self, method: str, path: str) -> bool:
        self.send(f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nX-Half".encode())
        self.close()
        return True

    def hold(self) -> None:
        self._held = []

    def release(self) -> None:
        held, self._held = self._held, None
        self.send(b"".join(held or []))

    def send(self, data: bytes) -> None:
        if self._held is not None:
            self._held.append(data)
            return
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise Failed("the server does not take what is sent") from None
        except OSError:
            pass  # it may have answered before that, and the answer can be read

    def until(self, mark: bytes) -> bytes:
        while mark not in self._got:
            self._got += self._receive()
        found, mark, self._got = self._got.partition(mark)
        return found + mark

    def some(self, size: int, end_is_fine: bool = False) -> bytes:
        if not self._got:
            try:
                self._got = self._receive()
            except Failed as failed:
                if end_is_fine and str(failed) == ENDED:
                    return b""
                raise
        found, self._got = self._got[:size], self._got[size:]
        return found

    def _receive(self) -> bytes:
        try:
            data = self._socket.recv(1 << 16)
        except TimeoutError:
            raise Failed(SILENT) from None
        except OSError:
            data = b""
        if not data:
            raise Failed(ENDED)
        return data

    def close(self) -> None:
        self._socket.close()


class Stream:
    """A request over HTTP/2 or HTTP/3; its connection puts in what arrives."""

    def __init__(self, connection: "Http2 | Http3", number: int, body: bool) -> None:
        self._connection = connection
        self._body = body  # one that has not come to its end
        self.number = number
        self.arrived: deque[bytes] = deque()
        self.answer: Head | None = None
        self.ended = False
        self.failed: Failed | None = None

    def send(self, data: bytes) -> None:
        self._connection.send_data(self, data, end=False)

    def end(self) -> None:
        if self._body:
            self._connection.send_data(self, b"", end=True)

    def head(self) -> Head:
        self._until(lambda: self.answer is not None)
        assert self.answer is not None
        return self.answer

    def piece(self) -> bytes:
        self._until(lambda: bool(self.arrived) or self.ended)
        if not self.arrived:
            return b""
        piece = self.arrived.popleft()
        self._connection.taken(self, len(piece))
        return piece

    def cut(self) -> None:
        self._connection.reset(self)

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._connection.patience
        while not condition():
            if self.failed is not None:
                raise self.failed
            self._connection.receive(deadline)

    def put_head(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]
        head = Head(int(fields[0][1]), fields[1:])
        if head.status >= 200 and self.answer is None:
            self.answer = head


def _pairs(scheme: str, port: int, method: str, path: str, fields: Fields, length: int | None) -> Any:
    pairs = [(":method", method), (":scheme", scheme), (":authority", f"127.0.0.1:{port}"), (":path", path)]
    pairs += [(name.lower(), value) for name, value in fields]
    if length is not None and length != CHUNKED:
        pairs.append(("content-length", str(length)))
    return pairs


class Http2:
    """A connection with many streams, over TLS or without."""

    def __init__(self, port: int, patience: float, tls: bool) -> None:
        from h2.config import H2Configuration
        from h2.connection import H2Connection

        self.patience = patience
        self._port = port
        self._scheme = "https" if tls else "http"
        connection = socket.create_connection(("127.0.0.1", port), timeout=patience)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
            connection = context.wrap_socket(connection)
            if connection.selected_alpn_protocol() != "h2":
                raise Failed("the server does not offer HTTP/2")
        self._socket = connection
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        encode = self._h2.encoder.encode
        # It takes seconds for a value of 300 KB otherwise
        self._h2.encoder.encode = lambda fields: encode(fields, huffman=False)
        self._h2.initiate_connection()
        self._streams: dict[int, Stream] = {}
        self._over: Failed | None = None
        self._held = False
        self._flush()

    def begin(self, method: str, path: str, fields: Fields = (), length: int | None = None) -> Stream:
        stream = Stream(self, self._h2.get_next_available_stream_id(), body=bool(length))
        self._streams[stream.number] = stream
        pairs = _pairs(self._scheme, self._port, method, path, fields, length)
        self._h2.send_headers(stream.number, pairs, end_stream=not length)
        stream.failed = self._over
        if not self._held:
            self._flush()
        return stream

    def begin_half(self, method: str, path: str) -> bool:
        self.hold()
        self.begin(method, path)
        frame = self._h2.data_to_send()
        self._socket.sendall(frame[: len(frame) // 2])
        self.close()
        return True

    def hold(self) -> None:
        self._held = True

    def release(self) -> None:
        self._held = False
        self._flush()

    def send_data(self, stream: Stream, data: bytes, end: bool) -> None:
        deadline = time.monotonic() + self.patience
        while data or end:
            if stream.failed is not None or stream.ended:
                return  # it has answered, or will not
            room = min(self._h2.local_flow_control_window(stream.number), self._h2.max_outbound_frame_size)
            if data and room == 0:
                self.receive(deadline, "the server does not take what is sent")
                continue
            now, data = data[:room], data[room:]
            self._h2.send_data(stream.number, now, end_stream=end and not data)
            end = end and bool(data)
            if not self._held:
                self._flush()

    def taken(self, stream: Stream, size: int) -> None:
        if size and self._over is None:
            self._h2.acknowledge_received_data(size, stream.number)
            self._flush()

    def reset(self, stream: Stream) -> None:
        self._h2.reset_stream(stream.number, CANCELLED["2"])
        self._flush()

    def receive(self, deadline: float, symptom: str = SILENT) -> None:
        if not self._take_in(max(deadline - time.monotonic(), 0.001)):
            raise Failed(symptom)
        self._flush()

    def _take_in(self, seconds: float) -> bool:
        """Handle what arrives within that time; whether anything did."""
        import h2.events as happened

        self._socket.settimeout(seconds)
        try:
            data = self._socket.recv(1 << 16)
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            data = b""
        finally:
            self._socket.settimeout(self.patience)
        if not data:
            self._end(Failed(ENDED))
            return True
        for event in self._h2.receive_data(data):
            stream = self._streams.get(getattr(event, "stream_id", None) or 0)
            if isinstance(event, happened.ConnectionTerminated):
                code = int(event.error_code or 0)
                self._end(Refused("the server ends the connection") if code else Failed(ENDED))
            elif stream is None:
                pass
            elif isinstance(event, happened.ResponseReceived):
                stream.put_head(event.headers)
            elif isinstance(event, happened.DataReceived):
                stream.arrived.append(event.data)
                if padding := event.flow_controlled_length - len(event.data):
                    self.taken(stream, padding)
            elif isinstance(event, happened.StreamEnded):
                stream.ended = True
            elif isinstance(event, happened.StreamReset):
                stream.failed = Refused("the server resets the stream")
        return True

    def _end(self, failed: Failed) -> None:
        self._over = self._over or failed
        for stream in self._streams.values():
            stream.failed = stream.failed or self._over

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        while data and self._over is None:
            # After an error in sending TLS would not let us read what the server has said before that.
            self._take_in(0)
            now, data = data[: 1 << 14], data[1 << 14 :]
            try:
                self._socket.sendall(now)
            except TimeoutError:
                raise Failed("the server does not take what is sent") from None
            except OSError:
                return  # what it has said before that can be read

    def close(self) -> None:
        self._socket.close()


class Http3:
    """A connection with many streams, over QUIC."""

    def __init__(self, port: int, patience: float) -> None:
        from aioquic.h3.connection import H3_ALPN
        from aioquic.quic.configuration import QuicConfiguration
        from aioquic.quic.connection import QuicConnection

        self.patience = patience
        self._port = port
        self._address = ("127.0.0.1", port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        configuration = QuicConfiguration(
            is_client=True, alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE, server_name="localhost"
        )
        self._quic = QuicConnection(configuration=configuration)
        self._bodiless: set[int] = set()
        self._h3 = self._lenient_h3(self._bodiless)(self._quic)
        self._quic.connect(self._address, now=time.monotonic())
        self._streams: dict[int, Stream] = {}
        self._over: Failed | None = None
        self._held = False
        self._ready = False
        deadline = time.monotonic() + patience
        while not self._ready:
            self.receive(deadline)
            if self._over is not None:
                raise self._over

    def begin(self, method: str, path: str, fields: Fields = (), length: int | None = None) -> Stream:
        stream = Stream(self, self._quic.get_next_available_stream_id(), body=bool(length))
        self._streams[stream.number] = stream
        pairs = _pairs("https", self._port, method, path, fields, length)
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in pairs]
        if method == "HEAD":
            self._bodiless.add(stream.number)
        self._h3.send_headers(stream.number, encoded, end_stream=not length)
        stream.failed = self._over
        if not self._held:
            self._flush()
        return stream

    @staticmethod
    def _lenient_h3(bodiless: set[int]) -> Any:
        from aioquic.h3.connection import H3Connection

        class Lenient(H3Connection):
            """aioquic wants a body of the declared length also in the answer to a HEAD, which has none."""

            def _check_content_length(self, stream: Any) -> None:
                if stream.stream_id not in bodiless:
                    super()._check_content_length(stream)

        return Lenient

    def begin_half(self, method: str, path: str) -> bool:
        return False  # a packet arrives whole, or not at all

    def hold(self) -> None:
        self._held = True

    def release(self) -> None:
        self._held = False
        self._flush()

    def send_data(self, stream: Stream, data: bytes, end: bool) -> None:
        self._h3.send_data(stream.number, data, end_stream=end)
        if self._held:
            return
        self._flush()
        deadline = time.monotonic() + self.patience
        while not self._quic._streams[stream.number].sender.buffer_is_empty and stream.failed is None:
            self.receive(deadline)  # what has arrived makes room for more

    def taken(self, stream: Stream, size: int) -> None:
        """QUIC looks after that itself."""

    def reset(self, stream: Stream) -> None:
        if not stream.ended:
            self._quic.stop_stream(stream.number, CANCELLED["3"])
        self._quic.reset_stream(stream.number, CANCELLED["3"])
        self._flush()

    def receive(self, deadline: float) -> None:
        from aioquic.quic import events as happened

        timer = self._quic.get_timer()
        until = deadline if timer is None else min(deadline, timer)
        self._flush()
        self._socket.settimeout(max(until - time.monotonic(), 0.001))
        try:
            data, address = self._socket.recvfrom(1 << 16)
        except TimeoutError:
            if time.monotonic() >= deadline:
                raise Failed(SILENT) from None
            self._quic.handle_timer(now=time.monotonic())
        except ConnectionError:
            self._end(Failed(ENDED))
        else:
            self._quic.receive_datagram(data, address, now=time.monotonic())
        while event := self._quic.next_event():
            self._ready = self._ready or isinstance(event, happened.HandshakeCompleted)
            if isinstance(event, happened.ConnectionTerminated):
                refused = event.error_code not in (0, 0x100)
                failed = Refused("the server ends the connection") if refused else Failed(ENDED)
                failed.add_note(f"code {event.error_code:#x}: {event.reason_phrase}")
                self._end(failed)
            elif isinstance(event, happened.StreamReset):
                if event.stream_id in self._streams:
                    self._streams[event.stream_id].failed = Refused("the server resets the stream")
            else:
                self._handle(event)
        self._flush()

    def _handle(self, event: Any) -> None:
        from aioquic.h3.events import DataReceived, HeadersReceived

        for part in self._h3.handle_event(event):
            stream = self._streams.get(getattr(part, "stream_id", -1))
            if stream is None:
                continue
            if isinstance(part, HeadersReceived):
                stream.put_head(part.headers)
            elif isinstance(part, DataReceived) and part.data:
                stream.arrived.append(part.data)
            stream.ended = stream.ended or getattr(part, "stream_ended", False)

    def _end(self, failed: Failed) -> None:
        self._over = self._over or failed
        for stream in self._streams.values():
            stream.failed = stream.failed or self._over

    def _flush(self) -> None:
        for data, address in self._quic.datagrams_to_send(now=time.monotonic()):
            try:
                self._socket.sendto(data, address)
            except OSError:
                pass  # what it has said before that can be read

    def close(self) -> None:
        self._quic.close()
        self._flush()
        self._socket.close()

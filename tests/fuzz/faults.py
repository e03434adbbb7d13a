"""Faults that are planted in asgiadapt to see that the fuzz targets find them: `FAULTS`."""

import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final, NamedTuple

from asgiadapt._sansio import headers, status


class Fault(NamedTuple):
    """In the function *where* of asgiadapt stands *new* in place of *old*; *target* has to find it."""

    target: str
    where: str
    old: str
    new: str

    def plant(self) -> tuple[Any, Any]:
        """The function, and the code that it had."""
        module, _, path = self.where.partition(":")
        found: Any = import_module(f"asgiadapt.{module}")
        for name in path.split("."):
            found = getattr(found, name)
        before = found.__code__
        source = textwrap.dedent(inspect.getsource(found))
        times = source.count(self.old)
        assert times == 1, f"{self.where} has {self.old!r} {times} times; plant another fault in its place"
        made: dict[str, Any] = {}
        exec(source.replace(self.old, self.new), found.__globals__, made)
        found.__code__ = made[found.__name__].__code__
        forget_names()
        return found, before

    @contextmanager
    def planted(self) -> Iterator[None]:
        function, before = self.plant()
        try:
            yield
        finally:
            function.__code__ = before
            forget_names()


def forget_names() -> None:
    """What was looked up once is kept, and would hide a fault, or outlive it."""
    for names in (headers._RESPONSE_NAMES, headers._HEADER_NAMES, headers._LIST_NAMES):
        names.clear()
    status._code.cache_clear()
    status._line.cache_clear()


def _of(target: str, *rows: tuple[str, str, str]) -> list[Fault]:
    return [Fault(target, *row) for row in rows]


FAULTS: Final = [
    *_of(
        "environ",
        ("_sansio.headers:EnvironKeys._key", ' or name == b"proxy"', ""),
        ("_sansio.headers:EnvironKeys._key", 'b"_" in name or ', ""),
        ("_sansio.headers:EnvironKeys._key", '"" if b"_" in name else key', "key"),
        ("_sansio.headers:EnvironKeys._key", "_TOKEN.fullmatch", "_TOKEN.match"),
        ("_sansio.headers:fields_from_headers", '"\\r" in everything or ', ""),
        ("_sansio.headers:fields_from_headers", "size > max_bytes", "size > max_bytes + 1"),
        ("_sansio.headers:fields_from_headers", "count > max_count", "count > max_count + 1"),
        ("_sansio.headers:fields_from_headers", 'del fields["CONTENT_LENGTH"]', "pass"),
        ("_sansio.headers:fields_from_headers", "fields.setdefault(", "fields.__setitem__("),
        ("_sansio.headers:_joined", '"; ".join', '", ".join'),
        ("_sansio.headers:_joined", "len(set(values)) > 1", "len(set(values)) > 2"),
        ("_sansio.headers:_content_length", "len(length) <= 20", "len(length) <= 21"),
        ("_sansio.headers:_content_length", "length.isascii() and ", ""),
        ("_sansio.headers:_content_length", "length = members.pop()", "length, members = max(members), None"),
        ("_sansio.request:_split_path", 'whole.startswith(root + "/")', "whole.startswith(root)"),
        ("_sansio.request:_split_path", 'root = root.rstrip("/")', "pass"),
        ("_sansio.request:_split_path", 'return "", "/"', 'return "", ""'),
        ("_sansio.request:_split_path", "root.count", "path.count"),
        ("_sansio.request:_recovered_path", 'recovered.decode("utf-8", "replace") == path', "recovered"),
        ("_sansio.request:_recovered_path", 'raw_path.partition(b"?")[0]', "raw_path"),
        ("_sansio.request:_server", ' and host[0] != "["', ""),
        ("_sansio.request:_server", "port not in (None, " + '"")', "port is not None"),
        ("_sansio.request:_wire", '"surrogateescape"', '"replace"'),
        ("_sansio.request:EnvironMaker.environ_from_scope", ' and "?" not in target', ""),
        ("_sansio.request:EnvironMaker.environ_from_scope", "self._fixed.copy()", "self._fixed"),
    ),
    *_of(
        "scope",
        ("_sansio.headers:headers_from_environ", 'if "HTTP_TRANSFER_ENCODING" not in environ', "if True"),
        ("_sansio.headers:headers_from_environ", "except AttributeError", "except ArithmeticError"),
        ("_sansio.headers:_look_closer", ' or "\\0" in value', ""),
        ("_sansio.headers:_HeaderNames.__missing__", ', "HTTP_CONTENT_LENGTH"', ""),
        ("_sansio.request:scope_from_environ", '_text(whole) or "/"', "_text(whole)"),
        ("_sansio.request:scope_from_environ", 'root = root.rstrip("/")', "pass"),
        ("_sansio.request:scope_from_environ", 'path = "/" + path', "pass"),
        ("_sansio.request:scope_from_environ", " or 0) if address", ") if address"),
        ("_sansio.request:_raw_path", ' and "%" not in raw', ""),
        ("_sansio.request:_raw_path", "target = target[origin.end() :]", "pass"),
        ("_sansio.request:_raw_path", "return None\n    except", "pass\n    except"),
        ("_sansio.request:_port", "<= 65535", "<= 65536"),
        ("_sansio.request:_port", "text.isascii() and text.isdigit()", "text.isdigit()"),
        ("_sansio.request:_text", '"replace"', '"strict"'),
        ("_sansio.request:_offered", 'scheme == "https" and ', ""),
        ("_sansio.request:_offered", " and callable(environ[key])", ""),
        ("_sansio.request:_server_address", "if name else None", ""),
    ),
    *_of(
        "wsgi_input",
        ("_sansio.body:RequestBody.accept", '"more_body", False', '"more_body", True'),
        ("_sansio.body:RequestBody.accept", "self.size > self._max_size", "self.size >= self._max_size"),
        ("_sansio.body:RequestBody.accept", 'event.get("body") or b""', 'event["body"]'),
        ("_sansio.body:RequestBody.accept", 'if kind != "http.request"', "if False"),
        ("_wsgi_streams:_RawBody.readinto", "rest[size:]", "rest[size + 1 :]"),
        ("_wsgi_streams:_RawBody.readall", "while rest := self._more()", "if rest := self._more()"),
        ("_wsgi_streams:BodyReader.readlines", "left <= 0", "left < 0"),
        ("_wsgi_streams:BodyReader.readlines", " and hint > 0", ""),
        ("_wsgi_streams:LateBody.readline", "readline(size)", "readline()"),
        ("_wsgi_streams:LateBody._open", "self._reader is None", "True"),
    ),
    *_of(
        "asgi_receive",
        ("_sansio.body:InputBody.__init__", "left = None", "pass"),
        ("_sansio.body:InputBody.__init__", "elif left is None", "elif False"),
        ("_sansio.body:InputBody.__init__", 'if environ.get("wsgi.input") is None', "if False"),
        ("_sansio.body:InputBody.wanted", "min(self._piece, self._left)", "self._piece"),
        ("_sansio.body:InputBody.grow", "min(2 * self._piece, most)", "4 * self._piece"),
        ("_sansio.body:InputBody.shrink", "self._piece = _PIECE", "pass"),
        ("_sansio.body:InputBody.event", "if self._left and not data", "if False"),
        ("_sansio.body:InputBody.event", "len(data) > self._left", "len(data) > self._left + 1"),
        ("_sansio.body:InputBody.event", "self.ended = not self._left", "self.ended = self._left < 2"),
        ("_sansio.body:InputBody.event", "isinstance(data, bytes)", "isinstance(data, bytes | bytearray)"),
    ),
    *_of(
        "wsgi_response",
        ("_sansio.headers:header_pair", "_CONTROL.search(value) is not None", "False"),
        ("_sansio.headers:header_pair", 'value.strip(" \\t")', "value"),
        ("_sansio.headers:_ResponseNames.__missing__", ".lower()", ""),
        ("_sansio.headers:headers_from_list", "elif content_length != length", "elif False"),
        ("_sansio.headers:headers_from_list", "and status == 407 ", ""),
        ("_sansio.headers:headers_from_list", "dropped += (name,)", "pairs.append(pair)"),
        ("_sansio.headers:_declared_length", "text.isascii() and ", ""),
        ("_sansio.response:WsgiResponse._commit", "self.status == 204 or", ""),
        ("_sansio.response:WsgiResponse._commit", "and not self._without_body", ""),
        ("_sansio.response:WsgiResponse.chunk", "data = data[: self._left]", "pass"),
        ("_sansio.response:WsgiResponse.chunk", "if not data or", "if"),
        ("_sansio.response:WsgiResponse.chunk", "last = not self._left", "pass"),
        ("_sansio.response:WsgiResponse.chunk", "if self._without_body", "if False"),
        ("_sansio.response:WsgiResponse.write", "if data else self._commit(None)", "if data else []"),
        ("_sansio.response:WsgiResponse.end", "if self._left", "if False"),
        ("_sansio.response:WsgiResponse.start", "self._called = True", "pass"),
        ("_sansio.response:WsgiResponse.start", "elif self.committed", "elif False"),
        ("_sansio.response:WsgiResponse.early_hint", "self.committed or ", ""),
        ("_sansio.response:WsgiResponse.file", "self._left != size", "False"),
        ("_sansio.response:WsgiResponse.set_trailers", "self._trailers is None or ", ""),
        ("_sansio.status:status_from_line", "not isinstance(line, str)", "False"),
    ),
    *_of(
        "asgi_response",
        ("_sansio.headers:listed_value", "_CONTROL.search(text) is not None", "False"),
        ("_sansio.headers:_ListNames.__missing__", "_TOKEN.fullmatch", "_TOKEN.match"),
        ("_sansio.headers:list_from_headers", " and status == 407", ""),
        ("_sansio.headers:list_from_headers", "elif content_length != length", "elif False"),
        ("_sansio.headers:list_from_headers", "dropped += (listed,)", "pairs.append((listed, text))"),
        ("_sansio.messages:AsgiResponse._body", "len(data) > left", "len(data) > left + 1"),
        ("_sansio.messages:AsgiResponse._body", "if left and not more", "if False"),
        ("_sansio.messages:AsgiResponse._body", "if data or more", "if data"),
        ("_sansio.messages:AsgiResponse._body", "more or without_body", "without_body"),
        ("_sansio.messages:AsgiResponse._body", "Phase.DRAINING if more else", ""),
        ("_sansio.messages:AsgiResponse.accept", "if phase is Phase.DONE", "if False"),
        ("_sansio.messages:AsgiResponse.accept", "kind not in self._offered", "False"),
        ("_sansio.messages:AsgiResponse.file", "self._left is not None and ", ""),
        ("_sansio.messages:AsgiResponse._is_without_body", "self._head or ", ""),
        ("_sansio.messages:AsgiResponse._make_head", 'self._status[:3] == "204" or', ""),
        (
            "_sansio.messages:AsgiResponse._file_path",
            "self.phase is not Phase.STARTED",
            "self.phase is Phase.WAITING",
        ),
        ("_sansio.messages:_as_bytes", "bytes | bytearray | memoryview", "bytes | bytearray"),
        ("_sansio.status:line_from_status", " or isinstance(status, bool)", ""),
    ),
    *_of(
        "wsgi_exchange",
        (
            "_wsgi_exchange:Exchange._check_limit",
            "elif events or self._response.complete",
            'elif events and "status" in events[0]',
        ),
        ("_wsgi_exchange:Exchange._check_limit", "self._head_passed = bool(events)", "pass"),
        (
            "_wsgi_exchange:Exchange._call_on_worker",
            "if close is not None:\n        close()",
            "if close is not None:\n        close() or close()",
        ),
        (
            "_wsgi_exchange:Exchange._call_on_worker",
            "            try:\n                close()",
            "            try:\n                pass",
        ),
        ("_wsgi_exchange:Exchange._pass_on_worker", "only and not response.committed", "only"),
        ("_wsgi_exchange:Exchange._pass_on_worker", "        if response.complete:\n", "        if False:\n"),
        ("_wsgi_exchange:Exchange._give_up", "self._out.break_off(make_error)", "pass"),
        ("_wsgi_exchange:Exchange._give_up", "self._stream.break_off(make_error)", "pass"),
        (
            "_wsgi_exchange:Exchange.serve",
            "try:\n            if self._receiver is not None:",
            "try:\n            if False:",
        ),
        ("_wsgi_exchange:Exchange.serve", "self._report_late_failure()", "pass"),
        ("_wsgi_exchange:Exchange.serve", "self._timer.cancel()", "pass"),
        ("_wsgi_exchange:Exchange.run", "if self._over and self._failure is not None", "if False"),
        ("_wsgi_exchange:Exchange._fetch_body_on_loop", "await stream.room()", "pass"),
        ("_wsgi_exchange:Exchange._fetch_body_on_loop", "self._client_left_on_loop()", "pass"),
        ("_wsgi_exchange:Exchange._raise_failure_on_loop", "self._out.broken or self._body_broken", "True"),
        ("_threads.handoff:ToLoop.put", "if self._held > self._window and not last", "if False"),
        ("_threads.handoff:ToLoop.done_with", "self._bell is None or self._held > self._window // 2", "True"),
        ("_threads.handoff:ToLoop.end", "self._ended = True", "self._ended = bool(self._items)"),
        ("_threads.handoff:ToLoop.take", "self._waits = True", "pass"),
        ("_threads.handoff:ToThread.put", "if self._bell is None or not (items or last)", "if True"),
        ("_threads.handoff:ToThread._take", "raise self._make_error()", "return []"),
    ),
    *_of(
        "asgi_exchange",
        (
            "_asgi_exchange:Exchange._is_settled",
            "self._over and (self._told or self._response.complete)",
            "self._over",
        ),
        ("_asgi_exchange:Exchange._leave_on_loop", "self._out.resume_on_loop()", "pass"),
        ("_asgi_exchange:Exchange._leave_on_loop", "self._wake_on_loop()", "pass"),
        ("_asgi_exchange:Exchange._leave_on_loop", "self._cancel_later_on_loop()", "pass"),
        ("_asgi_exchange:Exchange._end_on_loop", "self._timer.cancel()", "pass"),
        ("_asgi_exchange:Exchange._end_on_loop", "phase is not Phase.DONE and ", ""),
        ("_asgi_exchange:Exchange._end_on_loop", "self._bell.release()", "pass"),
        ("_asgi_exchange:Exchange.receive", "if not self._asked and not body.ended", "if not body.ended"),
        ("_asgi_exchange:Exchange.receive", "if self._response.complete", "if False"),
        ("_asgi_exchange:Exchange.send", "if self._out.is_full()", "if False"),
        ("_asgi_exchange:Exchange.send", "and not response.complete", ""),
        (
            "_asgi_exchange:Exchange._take_piece_on_loop",
            "self._gone = True  # the client",
            "pass  # the client",
        ),
        ("_asgi_exchange:Exchange.next_chunk", "items.reverse()", "pass"),
        ("_asgi_exchange:Exchange.close", "self._closed = True", "pass"),
        ("_asgi_exchange:Exchange._give_up", "self._loop.post(partial(self._leave_on_loop, error))", "pass"),
        ("_asgi_exchange:StreamedResponse.__next__", "if self._closed", "if False"),
        ("_asgi_exchange:StreamedResponse.__del__", "self._exchange.drop()", "pass"),
        ("_threads.handoff:ToThread.put", "self.ended = last", "self.ended = False"),
        ("_threads.handoff:ToThread.is_full", "self._held >= self._ahead", "False"),
        ("_threads.handoff:ToThread.resume_on_loop", "in waiters or ()", "in (waiters or [])[1:]"),
    ),
]

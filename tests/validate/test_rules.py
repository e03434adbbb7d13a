"""Each rule of the validator: who breaks it is caught, and who keeps it passes."""

import asyncio
import logging
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import trio

from asgiadapt._sansio.validation import RULES
from asgiadapt.validate import ApplicationViolation, AsgiViolation, ServerViolation, validator
from tests.validate.cases import (
    ABSENT,
    ACCEPT,
    CHAIN,
    CLOSE,
    CONNECT,
    GONE,
    LEFT,
    RECEIVE,
    REQUEST,
    SHUTDOWN,
    STARTED,
    STARTUP,
    STOPPED,
    Case,
    Twice,
    body,
    cancels_the_first,
    changes_its_message,
    changing,
    close_forgotten,
    connects,
    does,
    early_request,
    event_is_changed,
    forgets,
    frame,
    frames_two_at_a_time,
    gives,
    http,
    ignores,
    keeps_receive_waiting,
    length,
    lifespan,
    lives,
    living,
    not_async,
    offers,
    part,
    responds,
    returns_text,
    same_event,
    scope_case,
    sends,
    sends_two_at_a_time,
    shared_state,
    socket_case,
    start,
    talks,
    waits,
    websocket,
    with_tls,
)


class Row(NamedTuple):
    """*bad* breaks *rule*, and the error says *text*; *good* is as near to it as can be, and passes."""

    rule: str
    text: str
    bad: Callable[[], Case]
    good: Callable[[], Case]


TRAILERS = "http.response.trailers"
ZEROCOPY = "http.response.zerocopysend"
DENIAL = "websocket.http.response"
HINT = {"type": "http.response.early_hint", "links": [b"</a>"]}
PUSH = {"type": "http.response.push", "path": "/a", "headers": []}
DEBUG = {"type": "http.response.debug", "info": {"a": object()}}
TRAILER = {"type": TRAILERS, "headers": [(b"x", b"y")]}
FILE = {"type": "http.response.pathsend", "path": "/a"}
ALL = [
    f"http.response.{name}"
    for name in ("push", "zerocopysend", "pathsend", "early_hint", "trailers", "debug")
]


def copies(count: int, **more: Any) -> dict[str, Any]:
    return {"type": ZEROCOPY, "file": 3, "count": count, **more}


def refuses(*steps: Any) -> Any:
    return [{"type": f"{DENIAL}.start", "status": 401}, *steps]


REFUSED = {"type": f"{DENIAL}.body", "body": b"no"}
ROWS = [
    # The scope
    Row("scope-dict", "a list", lambda: Case(responds, [[("type", "http")]]), lambda: Case(responds)),
    Row("scope-dict", "keys of str", lambda: Case(responds, {**http(), 5: 6}), scope_case),
    Row("scope-type", "of type None", lambda: scope_case(type=ABSENT), scope_case),
    Row("scope-type", "of type b'http'", lambda: scope_case(type=b"http"), lambda: scope_case(type="http")),
    *[
        Row("scope-required", f"without '{key}'", lambda key=key: scope_case(**{key: ABSENT}), scope_case)
        for key in ("asgi", "http_version", "method", "path", "query_string", "headers")
    ],
    *[
        Row("scope-required", f"without '{key}'", lambda key=key: socket_case(**{key: ABSENT}), socket_case)
        for key in ("asgi", "path", "headers")
    ],
    Row(
        "scope-required",
        "without 'asgi'",
        lambda: Case(lives, lifespan(asgi=ABSENT), (STARTUP, SHUTDOWN)),
        lambda: Case(lives, lifespan(), (STARTUP, SHUTDOWN)),
    ),
    Row("scope-asgi", "a dict", lambda: scope_case(asgi="3.0"), lambda: scope_case(asgi={})),
    Row("scope-asgi", "'2.0' or '3.0'", lambda: scope_case(asgi={"version": 3}), scope_case),
    Row(
        "scope-asgi",
        "such as '2.4'",
        lambda: scope_case(asgi={"version": "3.0", "spec_version": "2"}),
        lambda: scope_case(asgi={"version": "3.0", "spec_version": "2.1"}),
    ),
    Row(
        "scope-http-version",
        "'HTTP/1.1', a str",
        lambda: scope_case(http_version="HTTP/1.1"),
        lambda: scope_case(http_version="2"),
    ),
    Row(
        "scope-http-version",
        "'1.0', a str",
        lambda: socket_case(http_version="1.0"),
        lambda: socket_case(http_version=ABSENT),
    ),
    Row(
        "scope-method", "upper case", lambda: scope_case(method="get"), lambda: scope_case(method="M-SEARCH")
    ),
    Row("scope-method", "a bytes", lambda: scope_case(method=b"GET"), scope_case),
    Row("scope-scheme", "not empty", lambda: scope_case(scheme=""), lambda: scope_case(scheme=ABSENT)),
    Row("scope-scheme", "None", lambda: socket_case(scheme=None), lambda: socket_case(scheme="wss")),
    Row("scope-path", "a bytes", lambda: scope_case(path=b"/"), lambda: scope_case(path="*")),
    Row(
        "scope-path-below-root",
        "begin with it",
        lambda: scope_case(path="/apple", root_path="/app"),
        lambda: scope_case(path="/app/le", root_path="/app"),
    ),
    Row(
        "scope-path-below-root",
        "begin with it",
        lambda: socket_case(path="/", root_path="/app/"),
        lambda: socket_case(path="/app", root_path="/app/"),
    ),
    Row(
        "scope-raw-path",
        "without a '?'",
        lambda: scope_case(raw_path=b"/a?b"),
        lambda: scope_case(raw_path=b"/a%3Fb"),
    ),
    Row("scope-raw-path", "a str", lambda: scope_case(raw_path="/"), lambda: scope_case(raw_path=None)),
    Row("scope-query-string", "bytes", lambda: scope_case(query_string="a=b"), scope_case),
    Row(
        "scope-query-string",
        "NoneType",
        lambda: scope_case(query_string=None),
        lambda: socket_case(query_string=None),
    ),
    Row("scope-root-path", "None", lambda: scope_case(root_path=None), lambda: scope_case(root_path=ABSENT)),
    Row("scope-headers", "a dict", lambda: scope_case(headers={b"a": b"b"}), lambda: scope_case(headers=())),
    Row(
        "scope-headers",
        "a pair of bytes",
        lambda: scope_case(headers=[("a", "b")]),
        lambda: scope_case(headers=iter([iter([b"a", b"b"])])),
    ),
    Row("scope-headers", "a pair", lambda: scope_case(headers=[(b"a",)]), scope_case),
    Row(
        "scope-header-names",
        "lower case",
        lambda: scope_case(headers=[(b"Host", b"a")]),
        lambda: scope_case(headers=[[b"x-a_b", b"a"]]),
    ),
    Row("scope-header-names", "made of letters", lambda: scope_case(headers=[(b"a b", b"a")]), scope_case),
    Row("scope-header-names", "pseudo", lambda: socket_case(headers=[(b":path", b"/")]), socket_case),
    Row(
        "scope-header-values",
        "control characters in the value",
        lambda: scope_case(headers=[(b"a", b"b\r\nc: d")]),
        lambda: scope_case(headers=[(b"a", b"b\t\xff")]),
    ),
    Row(
        "scope-client",
        "'50000'",
        lambda: scope_case(client=("192.0.2.1", "50000")),
        lambda: scope_case(client=["192.0.2.1", 50000]),
    ),
    Row(
        "scope-client",
        "None), a tuple",
        lambda: scope_case(client=("/socket", None)),
        lambda: scope_case(client=None),
    ),
    Row(
        "scope-client",
        "True), a tuple",
        lambda: socket_case(client=("a", True)),
        lambda: socket_case(client=ABSENT),
    ),
    Row(
        "scope-server",
        "'80'",
        lambda: scope_case(server=("testserver", "80")),
        lambda: scope_case(server=("/socket", None)),
    ),
    Row("scope-server", "a pair", lambda: scope_case(server="a"), lambda: scope_case(server=None)),
    Row(
        "scope-subprotocols",
        "iterable of str",
        lambda: socket_case(subprotocols="chat"),
        lambda: socket_case(subprotocols=iter(["chat"])),
    ),
    Row(
        "scope-subprotocols",
        "[b'chat'], a list",
        lambda: socket_case(subprotocols=[b"chat"]),
        lambda: socket_case(subprotocols=()),
    ),
    Row(
        "scope-extensions",
        "a list",
        lambda: scope_case(extensions=["tls"]),
        lambda: scope_case(extensions=None),
    ),
    Row("scope-extensions", "dict of dicts", lambda: scope_case(extensions={"a": True}), scope_case),
    Row("scope-tls", "without 'cipher_suite'", lambda: with_tls(cipher_suite=ABSENT), with_tls),
    Row(
        "scope-tls",
        "'TLSv1.3', a str",
        lambda: with_tls(tls_version="TLSv1.3"),
        lambda: with_tls(tls_version=None),
    ),
    Row("scope-tls", "16 bits", lambda: with_tls(cipher_suite=0x10000), lambda: with_tls(cipher_suite=0)),
    Row(
        "scope-tls",
        "both",
        lambda: with_tls(**CHAIN),
        lambda: with_tls(client_cert_chain=iter(["PEM"]), client_cert_name="CN=a"),
    ),
    Row(
        "scope-tls",
        "not empty",
        lambda: with_tls(client_cert_error=""),
        lambda: with_tls(client_cert_error="expired"),
    ),
    Row("scope-state", "a list", lambda: scope_case(state=[]), lambda: scope_case(state={5: 6})),
    Row(
        "scope-state-empty",
        "has to be empty",
        lambda: Case(lives, lifespan(state={"a": 1}), (STARTUP, SHUTDOWN)),
        lambda: Case(lives, lifespan(state={}), (STARTUP, SHUTDOWN)),
    ),
    Row(
        "scope-state-copy",
        "shallow copy",
        lambda: shared_state(copied=False),
        lambda: shared_state(copied=True),
    ),
    Row(
        "startup-first",
        "has to wait",
        lambda: early_request(answered=False),
        lambda: early_request(answered=True),
    ),
    Row("server-callables", "5 for receive", lambda: Case(responds, receive=5), lambda: Case(responds)),
    Row(
        "server-callables",
        "send() gave None",
        lambda: Case(responds, send=lambda message: None),
        lambda: Case(responds, send=lambda message: ignores()),
    ),
    # Events
    Row("event-dict", "the event None", lambda: gives(None), lambda: gives(REQUEST, GONE)),
    Row("event-dict", "'type' of str", lambda: gives({"body": b""}), lambda: gives(REQUEST, GONE)),
    Row(
        "event-type", "'http.response'", lambda: gives({"type": "http.response"}), lambda: gives(part(), GONE)
    ),
    Row(
        "event-type",
        "one of websocket.connect",
        lambda: talks(events=[part()]),
        lambda: talks(CLOSE),
    ),
    Row("event-fields", "'a', a str", lambda: gives(part("a")), lambda: gives(part(b"a"), GONE)),
    Row("event-fields", "a bytearray", lambda: gives(part(bytearray(b"a"))), lambda: gives(part(), GONE)),
    Row(
        "event-fields", "a bool", lambda: gives(part(more_body=0)), lambda: gives(part(more_body=False), GONE)
    ),
    Row(
        "event-fields",
        "without 'code'",
        lambda: Case(connects, websocket(), (CONNECT, {"type": "websocket.disconnect"})),
        lambda: Case(
            connects, websocket(), (CONNECT, {"type": "websocket.disconnect", "code": 1005, "reason": None})
        ),
    ),
    Row(
        "event-payload",
        "neither bytes nor text",
        lambda: talks(ACCEPT, RECEIVE, events=[CONNECT, frame(text=None)]),
        lambda: talks(ACCEPT, RECEIVE, events=[CONNECT, frame(text="", bytes=None)]),
    ),
    Row(
        "event-payload",
        "bytes and text",
        lambda: talks(ACCEPT, RECEIVE, events=[CONNECT, frame(text="a", bytes=b"a")]),
        lambda: talks(ACCEPT, RECEIVE, events=[CONNECT, frame(bytes=b"a")]),
    ),
    Row(
        "event-order",
        "the body has ended",
        lambda: gives(part(b"a"), part(b"")),
        lambda: gives(part(b"a", more=True), part(b""), GONE),
    ),
    Row(
        "event-order",
        "http.disconnect was given",
        lambda: gives(GONE, part(), app=does(RECEIVE, RECEIVE)),
        lambda: gives(GONE, GONE, app=does(RECEIVE, RECEIVE)),
    ),
    Row(
        "event-order",
        "not received yet",
        lambda: talks(events=[frame(text="a")]),
        lambda: talks(RECEIVE, events=[CONNECT, LEFT]),
    ),
    Row(
        "event-order",
        "neither accepted nor refused",
        lambda: talks(RECEIVE, events=[CONNECT, frame(text="a")]),
        lambda: talks(ACCEPT, RECEIVE, events=[CONNECT, frame(text="a")]),
    ),
    Row(
        "event-order",
        "websocket.disconnect was given",
        lambda: talks(ACCEPT, RECEIVE, RECEIVE, events=[CONNECT, LEFT, frame(text="a")]),
        lambda: talks(ACCEPT, RECEIVE, RECEIVE, events=[CONNECT, LEFT, LEFT]),
    ),
    Row(
        "event-order",
        "not received yet",
        lambda: Case(does(CLOSE, RECEIVE), websocket(), [LEFT]),
        lambda: Case(does(CLOSE, RECEIVE, RECEIVE), websocket(), [CONNECT, LEFT]),
    ),
    Row(
        "event-order",
        "closed the connection",
        lambda: talks(CLOSE, RECEIVE, events=[CONNECT, CONNECT]),
        lambda: talks(ACCEPT, CLOSE, RECEIVE, RECEIVE, events=[CONNECT, frame(text="late"), LEFT]),
    ),
    Row(
        "event-order",
        "not answered",
        lambda: living(RECEIVE, RECEIVE),
        lambda: living(RECEIVE, STARTED, RECEIVE, STOPPED),
    ),
    Row(
        "event-order",
        "start-up has failed",
        lambda: living(RECEIVE, {"type": "lifespan.startup.failed"}, RECEIVE),
        lambda: living(RECEIVE, {"type": "lifespan.startup.failed", "message": "no"}),
    ),
    Row("event-new", "twice", lambda: same_event(anew=False), lambda: same_event(anew=True)),
    Row(
        "event-unchanged",
        "changed an event",
        lambda: event_is_changed(changes=True),
        lambda: event_is_changed(changes=False),
    ),
    Row(
        "request-length",
        "1 bytes less",
        lambda: gives(part(b"a"), headers=length(2)),
        lambda: gives(part(b"a", more=True), part(b"b"), GONE, headers=length(2)),
    ),
    Row(
        "request-length",
        "2 bytes more",
        lambda: gives(part(b"abc", more=True), headers=length(1)),
        lambda: gives(part(b"abc"), GONE, headers=[*length(1), (b"transfer-encoding", b"chunked")]),
    ),
    Row(
        "message-kept",
        "changed a message",
        lambda: Case(responds, send=changes_its_message),
        lambda: Case(responds, send=ignores),
    ),
    # The call
    Row("call-awaitable", "cannot be awaited", lambda: Case(not_async), lambda: Case(responds)),
    Row("call-result", "'done'", lambda: Case(returns_text), lambda: Case(responds)),
    Row(
        "call-ended",
        "send() was used after",
        lambda: Case(Twice([start(), body()], keeps=True), [http(), http()]),
        lambda: Case(Twice([start(), body()], keeps=False), [http(), http()]),
    ),
    Row("call-unawaited", "await send(...)", lambda: Case(forgets("send")), lambda: Case(responds)),
    Row("call-unawaited", "await receive(...)", lambda: Case(forgets("receive")), lambda: Case(responds)),
    Row(
        "receive-concurrent",
        "one at a time",
        lambda: Case(keeps_receive_waiting, receive=waits),
        lambda: Case(cancels_the_first, receive=waits),
    ),
    Row(
        "receive-after-shutdown",
        "for ever",
        lambda: living(RECEIVE, STARTED, RECEIVE, STOPPED, RECEIVE, events=[STARTUP, SHUTDOWN, SHUTDOWN]),
        lambda: living(RECEIVE, STARTED, RECEIVE, STOPPED),
    ),
    Row(
        "send-concurrent",
        "one after the other",
        lambda: Case(sends_two_at_a_time, send=waits),
        lambda: Case(frames_two_at_a_time, websocket(), (CONNECT,), send=waits),
    ),
    # Messages
    Row("message-dict", "sent None", lambda: sends(None), lambda: sends(start(), body())),
    Row("message-dict", "'type' of str", lambda: sends({"status": 200}), lambda: sends(start(), body())),
    Row(
        "message-type",
        "'http.disconnect'",
        lambda: sends(start(), GONE),
        lambda: sends(start(), body()),
    ),
    Row(
        "message-type",
        "one of lifespan",
        lambda: living(RECEIVE, start()),
        lambda: living(RECEIVE, STARTED, RECEIVE, STOPPED),
    ),
    *[
        Row(
            "message-extension",
            f"'{message['type']}' in scope['extensions']",
            lambda message=message: sends(message, start(), message, body()),
            lambda steps=steps, message=message: sends(*steps, scope=offers(message["type"])),
        )
        for message, steps in [
            (HINT, [HINT, start(), HINT, body(more=True), HINT, body()]),
            (PUSH, [start(), PUSH, body(more=True), PUSH, body()]),
            (DEBUG, [DEBUG, start(), body()]),
            (FILE, [start(), FILE]),
        ]
    ],
    Row(
        "message-extension",
        "announced trailers",
        lambda: sends(start(trailers=True), body()),
        lambda: sends(start(trailers=True), body(), TRAILER, scope=offers(TRAILERS)),
    ),
    Row(
        "message-extension",
        f"'{DENIAL}' in scope['extensions']",
        lambda: talks(*refuses(REFUSED)),
        lambda: talks(*refuses(REFUSED), extensions={DENIAL: {}}),
    ),
    Row(
        "message-fields",
        "'200', a str",
        lambda: sends(start("200"), body()),
        lambda: sends(start(200), body()),
    ),
    Row(
        "message-fields",
        "without 'status'",
        lambda: sends({"type": "http.response.start"}),
        lambda: sends(start(), body()),
    ),
    Row(
        "message-fields",
        "a str, for its 'body'",
        lambda: sends(start(), body("a")),
        lambda: sends(start(), body(b"a")),
    ),
    Row(
        "message-fields",
        "bytearray",
        lambda: sends(start(), body(bytearray())),
        lambda: sends(start(), {"type": "http.response.body"}),
    ),
    Row(
        "message-fields",
        "a bool",
        lambda: sends(start(), body(more="no")),
        lambda: sends(start(), body(more=True), body()),
    ),
    Row(
        "message-fields",
        "from 0 on",
        lambda: sends(start(), copies(-1), scope=offers(ZEROCOPY)),
        lambda: sends(start(), copies(0), scope=offers(ZEROCOPY)),
    ),
    Row(
        "message-fields",
        "descriptor",
        lambda: sends(start(), copies(1, file="a"), scope=offers(ZEROCOPY)),
        lambda: sends(start(), copies(1, file=sys.stderr), scope=offers(ZEROCOPY)),
    ),
    Row(
        "message-fields",
        "iterable of bytes",
        lambda: sends({**HINT, "links": b"a"}, scope=offers(*ALL)),
        lambda: sends({**HINT, "links": iter([b"a"])}, start(), body(), scope=offers(*ALL)),
    ),
    Row(
        "message-fields",
        "a str, or None",
        lambda: talks({**ACCEPT, "subprotocol": b"chat"}),
        lambda: talks({**ACCEPT, "subprotocol": None}),
    ),
    Row(
        "message-payload",
        "neither",
        lambda: talks(ACCEPT, {"type": "websocket.send"}),
        lambda: talks(ACCEPT, {"type": "websocket.send", "bytes": b"", "text": None}),
    ),
    Row(
        "message-payload",
        "bytes and text",
        lambda: talks(ACCEPT, {"type": "websocket.send", "bytes": b"", "text": ""}),
        lambda: talks(ACCEPT, {"type": "websocket.send", "text": ""}),
    ),
    Row("message-order", "send that first", lambda: sends(body()), lambda: sends(start(), body())),
    Row(
        "message-order",
        "go on with http.response.body",
        lambda: sends(start(), start(), body()),
        lambda: sends(start(), body(more=True), body()),
    ),
    Row(
        "message-order",
        "a part of the body was sent",
        lambda: sends(start(), body(more=True), start()),
        lambda: sends(start(), body(more=True), body()),
    ),
    Row(
        "message-order",
        "debug",
        lambda: sends(DEBUG, DEBUG, scope=offers(*ALL)),
        lambda: sends(DEBUG, start(), body(), scope=offers(*ALL)),
    ),
    Row(
        "message-order",
        "pathsend",
        lambda: sends(start(), body(more=True), FILE, scope=offers(*ALL)),
        lambda: sends(start(), FILE, scope=offers(*ALL)),
    ),
    Row(
        "message-order",
        "trailers were announced",
        lambda: sends(start(trailers=True), body(), body(), scope=offers(*ALL)),
        lambda: sends(
            start(trailers=True), body(), {**TRAILER, "more_trailers": True}, TRAILER, scope=offers(*ALL)
        ),
    ),
    Row(
        "message-order",
        "although a part of the body",
        lambda: sends(start(), copies(1, more_body=True), TRAILER, scope=offers(*ALL)),
        lambda: sends(start(), copies(1, more_body=True), body(), scope=offers(*ALL)),
    ),
    Row(
        "message-order",
        "await receive() first",
        lambda: Case(does(ACCEPT), websocket(), [CONNECT]),
        lambda: talks(ACCEPT),
    ),
    Row(
        "message-order",
        "accept or websocket.close first",
        lambda: talks({"type": "websocket.send", "text": "a"}),
        lambda: talks(ACCEPT, {"type": "websocket.send", "text": "a"}),
    ),
    Row(
        "message-order", "the connection is open", lambda: talks(ACCEPT, ACCEPT), lambda: talks(ACCEPT, CLOSE)
    ),
    Row(
        "message-order",
        "no part of the body",
        lambda: talks(*refuses(CLOSE), extensions={DENIAL: {}}),
        lambda: talks(*refuses({**REFUSED, "more_body": True}, REFUSED), extensions={DENIAL: {}}),
    ),
    Row(
        "message-order",
        "in place of the connection",
        lambda: talks(*refuses({**REFUSED, "more_body": True}, ACCEPT), extensions={DENIAL: {}}),
        lambda: talks(*refuses(REFUSED), extensions={DENIAL: {}}),
    ),
    Row(
        "message-order",
        "not received yet",
        lambda: living(STARTED),
        lambda: living(RECEIVE, STARTED, RECEIVE, STOPPED),
    ),
    Row(
        "message-order",
        "no shutdown has begun",
        lambda: living(RECEIVE, STARTED, STOPPED),
        lambda: living(RECEIVE, STARTED, RECEIVE, {"type": "lifespan.shutdown.failed", "message": "no"}),
    ),
    Row(
        "message-after-end",
        "the response is complete",
        lambda: sends(start(), body(), body()),
        lambda: sends(start(), body(more=True), body()),
    ),
    Row(
        "message-after-end",
        "the response is complete",
        lambda: sends(start(), FILE, body(), scope=offers(*ALL)),
        lambda: sends(start(), FILE, scope=offers(*ALL)),
    ),
    Row("message-after-end", "closed or refused", lambda: talks(CLOSE, CLOSE), lambda: talks(CLOSE)),
    Row(
        "message-after-end",
        "start-up has failed",
        lambda: living(RECEIVE, {"type": "lifespan.startup.failed"}, STARTED),
        lambda: living(RECEIVE, {"type": "lifespan.startup.failed"}),
    ),
    Row(
        "message-after-end",
        "the shutdown is over",
        lambda: living(RECEIVE, STARTED, RECEIVE, STOPPED, STOPPED),
        lambda: living(RECEIVE, STARTED, RECEIVE, STOPPED),
    ),
    Row(
        "message-unchanged",
        "while send() was waiting",
        lambda: changing(while_waiting=True),
        lambda: changing(while_waiting=False),
    ),
    Row(
        "header-shape",
        "a dict, for its 'headers'",
        lambda: sends(start(headers={}), body()),
        lambda: sends(start(headers=()), body()),
    ),
    Row(
        "header-shape",
        "a pair of bytes",
        lambda: sends(start(headers=[("a", "b")]), body()),
        lambda: sends(start(headers=iter([[b"a", b"b"]])), body()),
    ),
    Row(
        "header-shape",
        "http.response.push",
        lambda: sends(start(), {**PUSH, "headers": None}, scope=offers(*ALL)),
        lambda: sends(start(), PUSH, body(), scope=offers(*ALL)),
    ),
    Row(
        "header-case",
        "lower case",
        lambda: sends(start(headers=[(b"Content-Type", b"a")]), body()),
        lambda: sends(start(headers=[(b"content-type", b"a")]), body()),
    ),
    Row(
        "header-names",
        "b''",
        lambda: sends(start(headers=[(b"", b"a")]), body()),
        lambda: sends(start(headers=[(b"!", b"")]), body()),
    ),
    Row(
        "header-names",
        "pseudo",
        lambda: sends(start(headers=[(b":status", b"200")]), body()),
        lambda: sends(start(headers=[(b"status", b"200")]), body()),
    ),
    Row(
        "header-case",
        "websocket.accept",
        lambda: talks({**ACCEPT, "headers": [(b"A", b"b")]}),
        lambda: talks({**ACCEPT, "headers": [(b"a", b"b")]}),
    ),
    Row(
        "header-values",
        "b'set-cookie'",
        lambda: sends(start(headers=[(b"set-cookie", b"a=b\r\nc: d")]), body()),
        lambda: sends(start(headers=[(b"set-cookie", b"a=b"), (b"set-cookie", b"c")]), body()),
    ),
    Row(
        "header-values",
        "http.response.trailers",
        lambda: sends(
            start(trailers=True), body(), {**TRAILER, "headers": [(b"a", b"\0")]}, scope=offers(*ALL)
        ),
        lambda: sends(start(trailers=True), body(), TRAILER, scope=offers(*ALL)),
    ),
    Row(
        "response-status",
        "the status 100",
        lambda: sends(start(100), body()),
        lambda: sends(start(200), body()),
    ),
    Row(
        "response-status",
        "the status 1000",
        lambda: sends(start(1000), body()),
        lambda: sends(start(599), body()),
    ),
    Row(
        "response-status",
        "the status 101",
        lambda: talks({"type": f"{DENIAL}.start", "status": 101}, extensions={DENIAL: {}}),
        lambda: talks(*refuses(REFUSED), extensions={DENIAL: {}}),
    ),
    Row(
        "response-transfer-encoding",
        "leave it out",
        lambda: sends(start(headers=[(b"transfer-encoding", b"chunked")]), body()),
        lambda: sends(start(headers=[(b"te", b"trailers")]), body()),
    ),
    Row(
        "response-length",
        "1 bytes longer",
        lambda: sends(start(headers=length(2)), body(b"abc")),
        lambda: sends(start(headers=length(3)), body(b"abc")),
    ),
    Row(
        "response-length",
        "2 bytes shorter",
        lambda: sends(start(headers=length(3)), body(b"a")),
        lambda: sends(start(headers=length(3)), body(b"a"), scope=http(method="HEAD")),
    ),
    Row(
        "response-length",
        "1 bytes longer",
        lambda: sends(start(headers=length(2)), body(b"ab", more=True), body(b"c")),
        lambda: sends(start(headers=length(3)), body(b"ab", more=True), body(b"c")),
    ),
    Row(
        "response-length",
        "2 bytes shorter",
        lambda: sends(start(headers=length(3)), copies(1), scope=offers(*ALL)),
        lambda: sends(start(headers=length(3)), {"type": ZEROCOPY, "file": 3}, scope=offers(*ALL)),
    ),
    Row(
        "response-length",
        "2 bytes longer",
        lambda: sends(start(headers=length(1)), copies(3), scope=offers(*ALL)),
        lambda: sends(start(headers=length(3)), copies(3), scope=offers(*ALL)),
    ),
    Row(
        "response-length",
        "one decimal number",
        lambda: sends(start(headers=length("+3")), body(b"abc")),
        lambda: sends(start(headers=length(5)), body(), scope=http(method="HEAD")),
    ),
    Row(
        "response-length",
        "b'1, 1'",
        lambda: sends(start(headers=length(1) * 2), body(b"a")),
        lambda: sends(start(headers=length(1)), body(b"a")),
    ),
    Row(
        "response-bodiless",
        "1 bytes of a body",
        lambda: sends(start(204), body(b"a")),
        lambda: sends(start(204), body()),
    ),
    Row(
        "response-bodiless",
        "5 bytes of a body",
        lambda: sends(start(304, headers=length(5)), body(b"hello")),
        lambda: sends(start(304, headers=length(5)), body()),
    ),
    Row(
        "response-complete", "no http.response.start", lambda: sends(), lambda: gives(GONE, app=does(RECEIVE))
    ),
    Row(
        "response-complete",
        "no part of the body",
        lambda: sends(start()),
        lambda: gives(GONE, app=does(RECEIVE, start())),
    ),
    Row(
        "response-complete",
        "a part of the body was sent",
        lambda: sends(start(), body(b"a", more=True)),
        lambda: Case(does(RECEIVE, start(), body(more=True), RECEIVE)),
    ),
    Row(
        "response-complete",
        "and then the trailers",
        lambda: sends(start(trailers=True), body(), scope=offers(*ALL)),
        lambda: sends(start(trailers=False), body(), scope=offers(*ALL)),
    ),
    Row(
        "accept-subprotocol",
        "'mail'",
        lambda: talks({**ACCEPT, "subprotocol": "mail"}),
        lambda: talks({**ACCEPT, "subprotocol": "news"}),
    ),
    Row(
        "accept-headers",
        "sec-websocket-protocol",
        lambda: talks({**ACCEPT, "headers": [(b"sec-websocket-protocol", b"chat")]}),
        lambda: talks({**ACCEPT, "headers": [(b"set-cookie", b"a=b")]}),
    ),
    *[
        Row(
            "close-code",
            f"the code {code}",
            lambda code=code: talks(ACCEPT, {**CLOSE, "code": code}),
            lambda right=right: talks(ACCEPT, {**CLOSE, "code": right}),
        )
        for code, right in [(1005, 1000), (1006, 1011), (999, 3000), (5000, 4999), (1015, 1014)]
    ],
    Row(
        "close-reason",
        "123 bytes",
        lambda: talks(ACCEPT, {**CLOSE, "reason": "\u00e9" * 62}),
        lambda: talks(ACCEPT, {**CLOSE, "reason": "a" * 123}),
    ),
    Row(
        "websocket-answered",
        "neither accepted nor refused",
        lambda: talks(),
        lambda: talks(RECEIVE, events=[CONNECT, LEFT]),
    ),
    Row(
        "websocket-answered", "not received yet", lambda: Case(does(), websocket(), ()), lambda: talks(CLOSE)
    ),
    Row(
        "websocket-answered",
        "a response of your own",
        lambda: talks(*refuses(), extensions={DENIAL: {}}),
        lambda: talks(*refuses(REFUSED), extensions={DENIAL: {}}),
    ),
    Row(
        "lifespan-answered",
        "not received yet",
        lambda: living(),
        lambda: living(RECEIVE, {"type": "lifespan.startup.failed"}),
    ),
    Row(
        "lifespan-answered",
        "lifespan.startup is not answered",
        lambda: living(RECEIVE),
        lambda: living(RECEIVE, STARTED, RECEIVE, STOPPED),
    ),
    Row(
        "lifespan-answered",
        "no shutdown has begun",
        lambda: living(RECEIVE, STARTED),
        lambda: living(RECEIVE, STARTED, RECEIVE, STOPPED),
    ),
    Row(
        "lifespan-answered",
        "lifespan.shutdown is not answered",
        lambda: living(RECEIVE, STARTED, RECEIVE),
        lambda: living(RECEIVE, STARTED, RECEIVE, STOPPED),
    ),
]


def run_on_asyncio(case: Case, **options: Any) -> Any:
    return asyncio.run(case.run(validator, **options))


def run_on_trio(case: Case, **options: Any) -> Any:
    async def run() -> Any:
        return await case.run(validator, **options)

    return trio.run(run)


on_each_loop = pytest.mark.parametrize("run", [run_on_asyncio, run_on_trio], ids=["asyncio", "trio"])
each_row = pytest.mark.parametrize(
    "row", [pytest.param(row, id=f"{row.rule}-{number}") for number, row in enumerate(ROWS, 1)]
)


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """Close what the applications above have not awaited."""
    yield
    close_forgotten()


@on_each_loop
@each_row
def test_who_breaks_a_rule_is_caught(row: Row, run: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The error names the rule and the side, says what to do, and is logged as well."""
    side = RULES[row.rule].side
    with pytest.raises(AsgiViolation, match=re.escape(row.text)) as caught:
        run(row.bad())
    assert (caught.value.rule, caught.value.side) == (row.rule, side)
    assert type(caught.value) is (ServerViolation if side == "server" else ApplicationViolation)
    assert str(caught.value).endswith(f" [{row.rule}]")
    said = [record for record in caplog.records if record.name == "asgiadapt.validate"]
    assert [(record.levelno, record.getMessage()) for record in said] == [(logging.ERROR, str(caught.value))]


@on_each_loop
@each_row
def test_who_keeps_it_passes(row: Row, run: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The same with the one thing put right."""
    run(row.good())
    assert not [record for record in caplog.records if record.name == "asgiadapt.validate"]


@each_row
def test_a_rule_that_is_ignored_is_not_checked(row: Row) -> None:
    """Neither does it stop what comes after; another rule may well be broken by the same."""
    try:
        run_on_asyncio(row.bad(), ignore=[row.rule])
    except AsgiViolation as violation:
        assert violation.rule != row.rule
    except IndexError:
        pass  # the application has awaited more events than the server has
    except (TypeError, AttributeError, KeyError) as error:
        # What a server or an application like that comes to without a validator.
        assert row.rule in {"scope-dict", "server-callables", "event-dict", "call-awaitable", "scope-type"}, (
            error
        )


def test_every_rule_has_its_row() -> None:
    """None is there that cannot be broken."""
    assert {row.rule for row in ROWS} == set(RULES)

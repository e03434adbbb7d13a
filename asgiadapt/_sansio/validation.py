"""ASGI rule by rule: which scopes and events a server may give, which messages an application may send.

`RULES` names every rule, with the side that has to keep it. `scope_faults` reads a scope; a conversation,
made by `conversation_for`, follows one call of an application: it is told of each event, each message and the
end. All of them give violations one by one and change their state after the last: who raises one of them
leaves the state as it was, who takes no notice of it goes on.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from enum import Enum
from reprlib import Repr
from typing import Any, Final, Literal, NamedTuple, TypeAlias

Side: TypeAlias = Literal["application", "server"]


class Rule(NamedTuple):
    side: Side
    text: str


def _of_server(**texts: str) -> dict[str, Rule]:
    return {name.replace("_", "-"): Rule("server", text) for name, text in texts.items()}


def _of_application(**texts: str) -> dict[str, Rule]:
    return {name.replace("_", "-"): Rule("application", text) for name, text in texts.items()}


RULES: Final = {
    # The scope
    **_of_server(
        scope_dict="The scope is a dict, and its keys are `str`.",
        scope_type="`type` is a `str`.",
        scope_required="Every key that the specification requires is there.",
        scope_asgi='`asgi` is a dict; its `version` is "2.0" or "3.0", its `spec_version` like "2.4".',
        scope_http_version='`http_version` is "1.0", "1.1", "2" or "3"; of a WebSocket not "1.0".',
        scope_method="`method` is a `str` in upper case, and not empty.",
        scope_scheme="`scheme` is a `str`, and not empty.",
        scope_path="`path` is a `str`.",
        scope_path_below_root="`path` begins with `root_path`.",
        scope_raw_path="`raw_path` is `bytes` without a query, or None.",
        scope_query_string="`query_string` is `bytes`; of a WebSocket it may be None.",
        scope_root_path="`root_path` is a `str`.",
        scope_headers="`headers` is an iterable of pairs of `bytes`.",
        scope_header_names="Names of request headers are tokens in lower case, and no pseudo-headers.",
        scope_header_values="Values of request headers have no control characters but the tab.",
        scope_client="`client` is a pair of a `str` and an `int`, or None.",
        scope_server="`server` is a pair of a `str` and an `int` or None, or it is None.",
        scope_subprotocols="`subprotocols` is an iterable of `str`.",
        scope_extensions="`extensions` is a dict of dicts, or None.",
        scope_tls="The extension `tls` has its fields, of their types.",
        scope_state="`state` is a dict.",
        scope_state_empty="`state` of a lifespan is empty at first.",
        scope_state_copy="Each request has a copy of the lifespan's `state`, and not that dict itself.",
        startup_first="No request comes before the application has answered `lifespan.startup`.",
        server_callables="`receive` and `send` can be called, and what they give can be awaited.",
    ),
    # What receive() gives
    **_of_server(
        event_dict="An event is a dict with a `type` that is a `str`.",
        event_type="An event is one of those of the scope's protocol.",
        event_fields="The fields of an event are of their types, and the required ones are there.",
        event_payload="`websocket.receive` has either `bytes` or `text`.",
        event_order="An event comes when it is due.",
        event_new="Each event is a new dict.",
        event_unchanged="An event that was given is not changed any more.",
        request_length="The request body is as long as the request's `content-length` says.",
        message_kept="Messages of the application are not changed.",
    ),
    # The call
    **_of_application(
        call_awaitable="What the call of the application gives can be awaited.",
        call_result="The application returns None.",
        call_ended="`receive` and `send` are not used after the application has returned.",
        call_unawaited="Each call of `receive` and `send` is awaited.",
        receive_concurrent="`receive` is awaited once at a time.",
        receive_after_shutdown="`receive` is not awaited after `lifespan.shutdown`, the last event.",
        send_concurrent="A response is sent one message after the other.",
    ),
    # What send() is given
    **_of_application(
        message_dict="A message is a dict with a `type` that is a `str`.",
        message_type="A message is one of those of the scope's protocol.",
        message_extension="A message of an extension is sent where `extensions` offers it.",
        message_fields="The fields of a message are of their types, and the required ones are there.",
        message_payload="`websocket.send` has either `bytes` or `text`.",
        message_order="A message is sent when it may be.",
        message_after_end="Nothing is sent after the end.",
        message_unchanged="A message is not changed while `send` is awaited.",
        header_shape="`headers` is an iterable of pairs of `bytes`.",
        header_names="Names of headers are tokens, and no pseudo-headers.",
        header_case="Names of headers are in lower case.",
        header_values="Values of headers have no control characters but the tab.",
        response_status="A status is from 200 to 999.",
        response_transfer_encoding="`transfer-encoding` is left to the server.",
        response_length="The body is as long as the `content-length`, which is one decimal number.",
        response_bodiless="A response of status 204, 205 or 304 has no body.",
        response_complete="The application sends a response to its end, or learns that the client has gone.",
        accept_subprotocol="The subprotocol that is accepted is one that the client has offered.",
        accept_headers="`websocket.accept` names the subprotocol in its field, and not in its headers.",
        close_code="A close code is 1000, another that may be sent, or from 3000 to 4999.",
        close_reason="A close reason has at most 123 bytes.",
        websocket_answered="The application answers `websocket.connect`.",
        lifespan_answered="The application answers `lifespan.startup` and `lifespan.shutdown`, or raises.",
    ),
}


class AsgiViolation(AssertionError):
    """A rule of ASGI was broken.

    ``rule`` is the rule's id, ``side`` is ``"application"`` or ``"server"``.
    """

    side: Side

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"{text} [{rule}]")
        self.rule = rule

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), str(self), self.rule)


class ApplicationViolation(AsgiViolation):
    """The application broke the rule."""

    side: Side = "application"


class ServerViolation(AsgiViolation):
    """The server broke the rule, or whatever stands in its place around the validator."""

    side: Side = "server"


def _again(kind: type[AsgiViolation], text: str, rule: str) -> AsgiViolation:
    return kind(rule, text.removesuffix(f" [{rule}]"))


Faults: TypeAlias = Iterator[AsgiViolation]


def violation(rule: str, text: str) -> AsgiViolation:
    """That *rule* was broken: of the class for the side that has to keep it."""
    if RULES[rule].side == "server":
        return ServerViolation(rule, f"{text} Mend the server, or let it pass with ignore={{{rule!r}}}.")
    return ApplicationViolation(rule, text)


_repr = Repr()
_repr.maxstring = _repr.maxother = 80
_shown: Final = _repr.repr


# Fields


class Kind(NamedTuple):
    """Which values a field may have; *phrase* ends a sentence that begins with "it has to be"."""

    phrase: str
    holds: Callable[[Any], bool]


class Field(NamedTuple):
    kind: Kind
    required: bool = False
    rule: str = ""  # of a scope: the one that a wrong value breaks


Fields: TypeAlias = Mapping[str, Field]


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_pair(value: Any, second: Callable[[Any], bool]) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and isinstance(value[0], str)
        and bool(second(value[1]))
    )


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _is_iterator(value: Any) -> bool:
    return isinstance(value, Iterator)


def _is_file(value: Any) -> bool:
    return _is_int(value) or callable(getattr(value, "fileno", None))


def _all_are(kind: type) -> Callable[[Any], bool]:
    def holds(value: Any) -> bool:
        return isinstance(value, list | tuple) and all(isinstance(item, kind) for item in value)

    return holds


def _or_none(kind: Kind) -> Kind:
    return Kind(f"{kind.phrase}, or None", lambda value: value is None or kind.holds(value))


_VERSION = re.compile(r"[0-9]+\.[0-9]+")
_STR = Kind("a str", lambda value: isinstance(value, str))
_TEXT = Kind("a str that is not empty", lambda value: isinstance(value, str) and value != "")
_BYTES = Kind("bytes", lambda value: isinstance(value, bytes))
_BOOL = Kind("a bool", lambda value: isinstance(value, bool))
_INT = Kind("an int", _is_int)
_COUNT = Kind("an int from 0 on", lambda value: _is_int(value) and value >= 0)
_WORD = Kind("an int of 16 bits", lambda value: _is_int(value) and 0 <= value <= 0xFFFF)
_DICT = Kind("a dict with keys of str", _is_dict)
# What is in it is the application's.
_NAMESPACE = Kind("a dict", lambda value: isinstance(value, dict))
_STRS = Kind("an iterable of str", _all_are(str))
# An iterator is let alone: who looked at it would use it up.
_CHAIN = Kind("an iterable of str", lambda value: _is_iterator(value) or _STRS.holds(value))
_BYTESES = Kind("an iterable of bytes", _all_are(bytes))
_ANYTHING = Kind("anything", lambda value: True)  # looked at elsewhere
_FILE = Kind("a file with a descriptor", _is_file)
_METHOD = Kind(
    "a str in upper case",
    lambda value: isinstance(value, str) and value != "" and value == value.upper(),
)
_RAW_PATH = Kind("bytes without a '?'", lambda value: isinstance(value, bytes) and b"?" not in value)
_HTTP_VERSION = Kind("one of '1.0', '1.1', '2', '3'", lambda value: value in ("1.0", "1.1", "2", "3"))
_WS_VERSION = Kind("one of '1.1', '2', '3'", lambda value: value in ("1.1", "2", "3"))
_ASGI_VERSION = Kind("'2.0' or '3.0'", lambda value: value in ("2.0", "3.0"))
_SPEC_VERSION = Kind(
    "a str such as '2.4'", lambda value: isinstance(value, str) and _VERSION.fullmatch(value) is not None
)
_CLIENT = Kind("a pair of a str and an int", lambda value: _is_pair(value, _is_int))
_SERVER = Kind(
    "a pair of a str and an int or None",
    lambda value: _is_pair(value, lambda port: port is None or _is_int(port)),
)
_EXTENSIONS = Kind(
    "a dict of dicts",
    lambda value: _is_dict(value) and all(isinstance(offer, dict) for offer in value.values()),
)

_ASGI: Final[Fields] = {"version": Field(_ASGI_VERSION), "spec_version": Field(_SPEC_VERSION)}
_TLS: Final[Fields] = {
    "server_cert": Field(_or_none(_STR), required=True),
    "client_cert_chain": Field(_CHAIN),
    "client_cert_name": Field(_or_none(_STR)),
    "client_cert_error": Field(_or_none(_TEXT)),
    "tls_version": Field(_or_none(_INT), required=True),
    "cipher_suite": Field(_or_none(_WORD), required=True),
}
_ASGI_FIELD = Field(_DICT, required=True, rule="scope-asgi")
_STATE_FIELD = Field(_NAMESPACE, rule="scope-state")
_OF_BOTH: Final[Fields] = {
    "asgi": _ASGI_FIELD,
    "scheme": Field(_TEXT, rule="scope-scheme"),
    "path": Field(_STR, required=True, rule="scope-path"),
    "raw_path": Field(_or_none(_RAW_PATH), rule="scope-raw-path"),
    "root_path": Field(_STR, rule="scope-root-path"),
    "headers": Field(_ANYTHING, required=True),
    "client": Field(_or_none(_CLIENT), rule="scope-client"),
    "server": Field(_or_none(_SERVER), rule="scope-server"),
    "state": _STATE_FIELD,
    "extensions": Field(_or_none(_EXTENSIONS), rule="scope-extensions"),
}
_SCOPES: Final[Mapping[str, Fields]] = {
    "http": {
        **_OF_BOTH,
        "http_version": Field(_HTTP_VERSION, required=True, rule="scope-http-version"),
        "method": Field(_METHOD, required=True, rule="scope-method"),
        "query_string": Field(_BYTES, required=True, rule="scope-query-string"),
    },
    "websocket": {
        **_OF_BOTH,
        "http_version": Field(_WS_VERSION, rule="scope-http-version"),
        "query_string": Field(_or_none(_BYTES), rule="scope-query-string"),
        "subprotocols": Field(_STRS, rule="scope-subprotocols"),
    },
    "lifespan": {"asgi": _ASGI_FIELD, "state": _STATE_FIELD},
}
_NONE: Final[Fields] = {}
_BODY: Final[Fields] = {"body": Field(_BYTES), "more_body": Field(_BOOL)}
_DATA: Final[Fields] = {"bytes": Field(_or_none(_BYTES)), "text": Field(_or_none(_STR))}
_FAILURE: Final[Fields] = {"message": Field(_STR)}
_EVENTS: Final[Mapping[str, Mapping[str, Fields]]] = {
    "http": {"http.request": _BODY, "http.disconnect": _NONE},
    "websocket": {
        "websocket.connect": _NONE,
        "websocket.receive": _DATA,
        "websocket.disconnect": {"code": Field(_INT, required=True), "reason": Field(_or_none(_STR))},
    },
    "lifespan": {"lifespan.startup": _NONE, "lifespan.shutdown": _NONE},
}
_MESSAGES: Final[Mapping[str, Mapping[str, Fields]]] = {
    "http": {
        "http.response.start": {
            "status": Field(_INT, required=True),
            "headers": Field(_ANYTHING),
            "trailers": Field(_BOOL),
        },
        "http.response.body": _BODY,
        "http.response.push": {
            "path": Field(_STR, required=True),
            "headers": Field(_ANYTHING, required=True),
        },
        "http.response.zerocopysend": {
            "file": Field(_FILE, required=True),
            "offset": Field(_COUNT),
            "count": Field(_COUNT),
            "more_body": Field(_BOOL),
        },
        "http.response.pathsend": {"path": Field(_STR, required=True)},
        "http.response.early_hint": {"links": Field(_BYTESES, required=True)},
        "http.response.trailers": {
            "headers": Field(_ANYTHING, required=True),
            "more_trailers": Field(_BOOL),
        },
        "http.response.debug": {"info": Field(_DICT, required=True)},
    },
    "websocket": {
        "websocket.accept": {"subprotocol": Field(_or_none(_STR)), "headers": Field(_ANYTHING)},
        "websocket.send": _DATA,
        "websocket.close": {"code": Field(_INT), "reason": Field(_or_none(_STR))},
        "websocket.http.response.start": {
            "status": Field(_INT, required=True),
            "headers": Field(_ANYTHING),
        },
        "websocket.http.response.body": _BODY,
    },
    "lifespan": {
        "lifespan.startup.complete": _NONE,
        "lifespan.startup.failed": _FAILURE,
        "lifespan.shutdown.complete": _NONE,
        "lifespan.shutdown.failed": _FAILURE,
    },
}
_EXTENSION_OF: Final = {
    **{kind: kind for kind in _MESSAGES["http"] if kind not in ("http.response.start", "http.response.body")},
    "websocket.http.response.start": "websocket.http.response",
    "websocket.http.response.body": "websocket.http.response",
}


def held(mapping: Any) -> Any:
    """A copy of a scope or message, with lists for iterables: those that can be read once are read here."""
    if not isinstance(mapping, dict):
        return mapping
    copy = dict(mapping)
    for key in _ITERABLES:
        if _has_to_be_listed(copy.get(key)):
            copy[key] = list(copy[key])
    headers = copy.get("headers")
    if isinstance(headers, list | tuple) and any(map(_has_to_be_listed, headers)):
        copy["headers"] = [list(pair) if _has_to_be_listed(pair) else pair for pair in headers]
    return copy


_ITERABLES: Final = ("headers", "links", "subprotocols")


def _has_to_be_listed(value: Any) -> bool:
    """Whether *value* is an iterable that may be one for a single time."""
    known = isinstance(value, list | tuple | str | bytes | bytearray | Mapping)
    return not known and isinstance(value, Iterable)


def has_to_be_held(scope: Any) -> bool:
    """Whether looking at *scope* would use something up."""
    if not isinstance(scope, dict):
        return False
    headers = scope.get("headers")
    return any(_has_to_be_listed(scope.get(key)) for key in _ITERABLES) or (
        isinstance(headers, list | tuple) and any(map(_has_to_be_listed, headers))
    )


def _field_faults(rule: str, fields: Fields, given: Mapping[str, Any], what: str) -> Faults:
    """What is wrong with the fields of *what*, a phrase such as "the application sent http.request"."""
    for key, (kind, required, _) in fields.items():
        if key not in given:
            if required:
                yield violation(rule, f"{what} without {key!r}; it has to be there, as {kind.phrase}.")
        elif not kind.holds(given[key]):
            yield violation(
                rule,
                f"{what} with {_shown(given[key])}, a {type(given[key]).__name__}, for its {key!r}; it has "
                f"to be {kind.phrase}.",
            )


# RFC 9110, 5.6.2 and 5.5.
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class HeaderRules(NamedTuple):
    shape: str
    names: str
    case: str
    values: str


_OF_REQUEST = HeaderRules("scope-headers", "scope-header-names", "scope-header-names", "scope-header-values")
_OF_RESPONSE = HeaderRules("header-shape", "header-names", "header-case", "header-values")


def _header_faults(rules: HeaderRules, headers: Any, what: str) -> Faults:
    if not isinstance(headers, list | tuple):
        yield violation(
            rules.shape,
            f"{what} with {_shown(headers)}, a {type(headers).__name__}, for its 'headers'; it has to be an "
            f"iterable of pairs of bytes.",
        )
        return
    for pair in headers:
        if not _is_pair_of_bytes(pair):
            yield violation(
                rules.shape, f"{what} with the header {_shown(pair)}; it has to be a pair of bytes."
            )
            continue
        name, value = pair
        if name.startswith(b":"):
            yield violation(
                rules.names,
                f"{what} with {name!r} among its headers; pseudo-headers have no place there.",
            )
        elif _NAME.fullmatch(name) is None:
            yield violation(
                rules.names,
                f"{what} with the header name {_shown(name)}; a name has to be made of letters, digits and "
                f"!#$%&'*+-.^_`|~ only.",
            )
        elif name != name.lower():
            yield violation(
                rules.case,
                f"{what} with the header name {_shown(name)}; a name has to be in lower case.",
            )
        if _CONTROL.search(value) is not None:
            yield violation(
                rules.values,
                f"{what} with control characters in the value of the header {_shown(name)}; a value has to "
                f"be without any but the tab.",
            )


def _is_pair_of_bytes(pair: Any) -> bool:
    return isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(part, bytes) for part in pair)


def _pairs(headers: Any) -> list[tuple[bytes, bytes]]:
    """Those of *headers* that are what they have to be, with their names in lower case."""
    if not isinstance(headers, list | tuple):
        return []
    return [(pair[0].lower(), pair[1]) for pair in headers if _is_pair_of_bytes(pair)]


def _lengths(headers: Any) -> list[bytes]:
    return [value.strip(b" \t") for name, value in _pairs(headers) if name == b"content-length"]


def _is_number(text: bytes) -> bool:
    # Twenty digits are more bytes than there are.
    return text.isdigit() and len(text) <= 20


def scope_faults(scope: Any) -> Faults:
    """What is wrong with *scope*, whose iterables are `held`. Those of other protocols may have anything."""
    if not _is_dict(scope):
        yield violation(
            "scope-dict",
            f"the server gave the scope {_shown(scope)}, a {type(scope).__name__}; it has to be a dict with "
            f"keys of str.",
        )
        return
    kind = scope.get("type")
    if not isinstance(kind, str):
        yield violation("scope-type", f"the server gave a scope of type {_shown(kind)}; it has to be a str.")
        return
    what = f"the server gave a scope of type {kind}"
    fields = _SCOPES.get(kind, {})
    for key, field in fields.items():
        if key in scope:
            yield from _field_faults(field.rule, {key: field}, scope, what)
        else:
            yield from _field_faults("scope-required", {key: field}, scope, what)
    if not fields:
        return
    if isinstance(scope.get("asgi"), dict):
        yield from _field_faults("scope-asgi", _ASGI, scope["asgi"], f"{what} and an 'asgi'")
    if "headers" in scope and kind != "lifespan":
        yield from _header_faults(_OF_REQUEST, scope["headers"], what)
    yield from _path_faults(scope)
    extensions = scope.get("extensions")
    if isinstance(extensions, dict) and isinstance(extensions.get("tls"), dict):
        yield from _tls_faults(extensions["tls"])
    if kind == "lifespan" and scope.get("state"):
        yield violation(
            "scope-state-empty",
            f"the server gave a lifespan with the state {_shown(scope['state'])}; it has to be empty.",
        )


def _path_faults(scope: Mapping[str, Any]) -> Faults:
    path, root = scope.get("path"), scope.get("root_path")
    if isinstance(path, str) and isinstance(root, str):
        root = root.rstrip("/")
        # Ask for the slash: "/app" begins "/apple" too, and is not its root.
        if root and path != root and not path.startswith(root + "/"):
            yield violation(
                "scope-path-below-root",
                f"the server gave the path {_shown(path)} with the root_path {_shown(root)}; a path has to "
                f"begin with it.",
            )


def _tls_faults(tls: Mapping[str, Any]) -> Faults:
    what = "the server gave a scope and an extension 'tls'"
    yield from _field_faults("scope-tls", _TLS, tls, what)
    if tls.get("client_cert_chain") and tls.get("client_cert_name") is None:
        yield violation(
            "scope-tls",
            f"{what} with a 'client_cert_chain' and no 'client_cert_name'; it has to have both.",
        )


# Calls, one after the other


class History:
    """What the calls of one application so far have shown, for the rules between them."""

    def __init__(self) -> None:
        self._state: Any = None  # the lifespan's
        self._lifespans: list[Conversation] = []

    def begin(self, scope: Mapping[str, Any], conversation: "Conversation") -> Faults:
        """A call with *scope* begins."""
        kind = scope.get("type")
        if kind == "lifespan":
            self._state = scope.get("state")
            self._lifespans.append(conversation)
            return
        if kind not in _SCOPES:
            return
        # Where there are several lifespans, one for each loop, this request may belong to another.
        if len(self._lifespans) == 1 and self._lifespans[0].is_starting():
            yield violation(
                "startup-first",
                f"the server called the application with a scope of type {kind} although lifespan.startup is "
                f"not answered yet; it has to wait.",
            )
        if self._state is not None and scope.get("state") is self._state:
            yield violation(
                "scope-state-copy",
                "the server gave a request the state of the lifespan itself; it has to be a shallow copy.",
            )

    def end(self, conversation: "Conversation") -> None:
        """The call is over."""
        conversation.over = True


# One call


class ResponsePhase(Enum):
    WAITING = "no http.response.start was sent yet"
    STARTED = "http.response.start was sent, and no part of the body"
    OPEN = "a part of the body was sent"
    TRAILERS = "the body is complete and trailers were announced"
    DONE = "the response is complete"


_RESPONSE: Final = {
    (ResponsePhase.WAITING, "http.response.debug"): ResponsePhase.WAITING,
    (ResponsePhase.WAITING, "http.response.early_hint"): ResponsePhase.WAITING,
    (ResponsePhase.WAITING, "http.response.start"): ResponsePhase.STARTED,
    (ResponsePhase.STARTED, "http.response.early_hint"): ResponsePhase.STARTED,
    (ResponsePhase.STARTED, "http.response.push"): ResponsePhase.STARTED,
    (ResponsePhase.STARTED, "http.response.body"): ResponsePhase.OPEN,
    (ResponsePhase.STARTED, "http.response.body, last"): ResponsePhase.DONE,
    (ResponsePhase.STARTED, "http.response.zerocopysend"): ResponsePhase.OPEN,
    (ResponsePhase.STARTED, "http.response.zerocopysend, last"): ResponsePhase.DONE,
    (ResponsePhase.STARTED, "http.response.pathsend"): ResponsePhase.DONE,
    (ResponsePhase.OPEN, "http.response.early_hint"): ResponsePhase.OPEN,
    (ResponsePhase.OPEN, "http.response.push"): ResponsePhase.OPEN,
    (ResponsePhase.OPEN, "http.response.body"): ResponsePhase.OPEN,
    (ResponsePhase.OPEN, "http.response.body, last"): ResponsePhase.DONE,
    (ResponsePhase.OPEN, "http.response.zerocopysend"): ResponsePhase.OPEN,
    (ResponsePhase.OPEN, "http.response.zerocopysend, last"): ResponsePhase.DONE,
    (ResponsePhase.TRAILERS, "http.response.trailers"): ResponsePhase.TRAILERS,
    (ResponsePhase.TRAILERS, "http.response.trailers, last"): ResponsePhase.DONE,
}
# The field that says whether more of the kind is to come.
_MORE: Final = {
    "http.request": "more_body",
    "http.response.body": "more_body",
    "http.response.zerocopysend": "more_body",
    "http.response.trailers": "more_trailers",
    "websocket.http.response.body": "more_body",
}


class RequestPhase(Enum):
    OPEN = "the body has not ended"
    DONE = "the body has ended"
    GONE = "http.disconnect was given"


_REQUEST: Final = {
    (RequestPhase.OPEN, "http.request"): RequestPhase.OPEN,
    (RequestPhase.OPEN, "http.request, last"): RequestPhase.DONE,
    (RequestPhase.OPEN, "http.disconnect"): RequestPhase.GONE,
    (RequestPhase.DONE, "http.disconnect"): RequestPhase.GONE,
    (RequestPhase.GONE, "http.disconnect"): RequestPhase.GONE,
}


class SocketPhase(Enum):
    NEW = "websocket.connect was not received yet"
    CONNECTING = "the connection is neither accepted nor refused"
    OPEN = "the connection is open"
    STARTED = "websocket.http.response.start was sent, and no part of the body"
    REFUSING = "a response is being sent in place of the connection"
    CLOSED = "the application has closed the connection"
    GONE = "websocket.disconnect was given"


_SOCKET_EVENTS: Final = {
    (SocketPhase.NEW, "websocket.connect"): SocketPhase.CONNECTING,
    (SocketPhase.CONNECTING, "websocket.disconnect"): SocketPhase.CONNECTING,
    (SocketPhase.OPEN, "websocket.receive"): SocketPhase.OPEN,
    (SocketPhase.OPEN, "websocket.disconnect"): SocketPhase.OPEN,
    (SocketPhase.STARTED, "websocket.disconnect"): SocketPhase.STARTED,
    (SocketPhase.REFUSING, "websocket.disconnect"): SocketPhase.REFUSING,
    # What had arrived before the application closed.
    (SocketPhase.CLOSED, "websocket.receive"): SocketPhase.CLOSED,
    (SocketPhase.CLOSED, "websocket.disconnect"): SocketPhase.CLOSED,
    # The connection may go on to nobody; what the application sends is judged as before.
    (SocketPhase.GONE, "websocket.disconnect"): SocketPhase.GONE,
}
_SOCKET_MESSAGES: Final = {
    (SocketPhase.NEW, "websocket.close"): SocketPhase.CLOSED,
    (SocketPhase.NEW, "websocket.http.response.start"): SocketPhase.STARTED,
    (SocketPhase.CONNECTING, "websocket.accept"): SocketPhase.OPEN,
    (SocketPhase.CONNECTING, "websocket.close"): SocketPhase.CLOSED,
    (SocketPhase.CONNECTING, "websocket.http.response.start"): SocketPhase.STARTED,
    (SocketPhase.STARTED, "websocket.http.response.body"): SocketPhase.REFUSING,
    (SocketPhase.STARTED, "websocket.http.response.body, last"): SocketPhase.CLOSED,
    (SocketPhase.REFUSING, "websocket.http.response.body"): SocketPhase.REFUSING,
    (SocketPhase.REFUSING, "websocket.http.response.body, last"): SocketPhase.CLOSED,
    (SocketPhase.OPEN, "websocket.send"): SocketPhase.OPEN,
    (SocketPhase.OPEN, "websocket.close"): SocketPhase.CLOSED,
}


class LifespanPhase(Enum):
    NEW = "lifespan.startup was not received yet"
    STARTING = "lifespan.startup is not answered"
    RUNNING = "the start-up is complete and no shutdown has begun"
    FAILED = "the start-up has failed"
    STOPPING = "lifespan.shutdown is not answered"
    STOPPED = "the shutdown is over"


_LIFESPAN_EVENTS: Final = {
    (LifespanPhase.NEW, "lifespan.startup"): LifespanPhase.STARTING,
    (LifespanPhase.RUNNING, "lifespan.shutdown"): LifespanPhase.STOPPING,
}
_LIFESPAN_MESSAGES: Final = {
    (LifespanPhase.STARTING, "lifespan.startup.complete"): LifespanPhase.RUNNING,
    (LifespanPhase.STARTING, "lifespan.startup.failed"): LifespanPhase.FAILED,
    (LifespanPhase.STOPPING, "lifespan.shutdown.complete"): LifespanPhase.STOPPED,
    (LifespanPhase.STOPPING, "lifespan.shutdown.failed"): LifespanPhase.STOPPED,
}


def _step(kind: str, fields: Mapping[str, Any]) -> str:
    """*kind* as it stands in the tables."""
    more = _MORE.get(kind)
    return kind if more is None or fields.get(more, False) else f"{kind}, last"


class Conversation:
    """One call of an application, of a protocol that has no rules of its own."""

    one_message_at_a_time = False

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self.protocol: str = scope.get("type", "")
        self.gone = False  # the client has, and the application knows
        self.over = False  # the call is
        extensions = scope.get("extensions")
        self._offered: Collection[str] = extensions if isinstance(extensions, dict) else ()

    def is_starting(self) -> bool:
        """Whether this is a lifespan whose start-up is going on."""
        return False

    def receive(self) -> Faults:
        """The application awaits the next event."""
        yield from ()

    def event(self, event: Any) -> Faults:
        """The server has given *event*."""
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            yield violation(
                "event-dict",
                f"the server gave the event {_shown(event)}; it has to be a dict with a 'type' of str.",
            )
            return
        kind: str = event["type"]
        known = _EVENTS.get(self.protocol)
        if known is None:
            return
        if kind not in known:
            yield violation(
                "event-type",
                f"the server gave the event {_shown(kind)} for a scope of type {self.protocol}; it has to be "
                f"one of {', '.join(known)}.",
            )
            return
        yield from _field_faults("event-fields", known[kind], event, f"the server gave {kind}")
        yield from self._event(kind, event)

    def message(self, message: Any) -> Faults:
        """The application sends *message*, whose iterables are `held`."""
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            yield violation(
                "message-dict",
                f"the application sent {_shown(message)}; send a dict with a 'type' of str.",
            )
            return
        kind: str = message["type"]
        known = _MESSAGES.get(self.protocol)
        if known is None:
            return
        what = f"the application sent {kind}"
        if kind not in known:
            yield violation(
                "message-type",
                f"the application sent {_shown(kind)} for a scope of type {self.protocol}; send one of "
                f"{', '.join(known)}.",
            )
            return
        extension = _EXTENSION_OF.get(kind)
        if extension is not None and extension not in self._offered:
            yield violation(
                "message-extension",
                f"{what}, which this server does not offer; look for {extension!r} in scope['extensions'] "
                f"first.",
            )
        yield from _field_faults("message-fields", known[kind], message, what)
        if "headers" in known[kind] and "headers" in message:
            yield from _header_faults(_OF_RESPONSE, message["headers"], what)
        yield from self._message(kind, message)

    def end(self) -> Faults:
        """The application has returned."""
        yield from ()

    def _event(self, kind: str, event: Mapping[str, Any]) -> Faults:
        yield from ()

    def _message(self, kind: str, message: Mapping[str, Any]) -> Faults:
        yield from ()


def _untimely_event(kind: str, phase: Enum) -> AsgiViolation:
    return violation("event-order", f"the server gave {kind} although {phase.value}; it is not due there.")


def _untimely_message(kind: str, phase: Enum, advice: str) -> AsgiViolation:
    return violation("message-order", f"the application sent {kind} although {phase.value}; {advice}")


def _status_faults(kind: str, status: Any) -> Faults:
    if _is_int(status) and not 200 <= status <= 999:
        yield violation(
            "response-status",
            f"the application sent {kind} with the status {status}; send one from 200 to 999.",
        )


class HttpConversation(Conversation):
    one_message_at_a_time = True

    def __init__(self, scope: Mapping[str, Any]) -> None:
        super().__init__(scope)
        self._request = RequestPhase.OPEN
        self._response = ResponsePhase.WAITING
        self._method = scope.get("method")
        self._awaited = _request_length(scope.get("headers"))  # bytes that are to come, if that is known
        self._left: int | None = None  # bytes that the response's length still has room for
        self._has_body = True
        self._trailers = self._debugged = False

    def _event(self, kind: str, event: Mapping[str, Any]) -> Faults:
        phase = _REQUEST.get((self._request, _step(kind, event)))
        if phase is None:
            yield _untimely_event(kind, self._request)
            return
        awaited = self._awaited
        if awaited is not None and kind == "http.request":
            body = event.get("body", b"")
            awaited -= len(body) if isinstance(body, bytes) else 0
            if awaited < 0 or (awaited and phase is RequestPhase.DONE):
                difference = f"{-awaited} bytes more than" if awaited < 0 else f"{awaited} bytes less than"
                yield violation(
                    "request-length",
                    f"the server gave a request body of {difference} the content-length says; it has to be "
                    f"as long, or to end with http.disconnect.",
                )
                awaited = None
        self._awaited = awaited
        self._request = phase
        self.gone = self.gone or phase is RequestPhase.GONE

    def _message(self, kind: str, message: Mapping[str, Any]) -> Faults:
        phase = _RESPONSE.get((self._response, _step(kind, message)))
        if phase is None or (kind == "http.response.debug" and self._debugged):
            if self._response is ResponsePhase.DONE:
                yield violation(
                    "message-after-end",
                    f"the application sent {kind} although the response is complete; send nothing more, and "
                    f"set 'more_body' before that where more is to come.",
                )
            else:
                yield _untimely_message(kind, self._response, _ADVICE[self._response])
            return
        if kind == "http.response.start":
            yield from self._start(message)
        elif kind == "http.response.body":
            body = message.get("body", b"")
            size = len(body) if isinstance(body, bytes) else 0
            yield from self._take(size, ends=phase is ResponsePhase.DONE)
        elif kind == "http.response.zerocopysend":
            count = message.get("count")
            if isinstance(count, int):
                yield from self._take(count, ends=phase is ResponsePhase.DONE)
            else:
                self._left = None  # only the file knows
        self._debugged = self._debugged or kind == "http.response.debug"
        ended = phase is ResponsePhase.DONE and self._response is not ResponsePhase.TRAILERS
        self._response = ResponsePhase.TRAILERS if ended and self._trailers else phase

    def _start(self, message: Mapping[str, Any]) -> Faults:
        status = message.get("status")
        yield from _status_faults("http.response.start", status)
        trailers = message.get("trailers", False) is True
        if trailers and "http.response.trailers" not in self._offered:
            yield violation(
                "message-extension",
                "the application announced trailers, which this server does not offer; look for "
                "'http.response.trailers' in scope['extensions'] first.",
            )
        headers = message.get("headers", ())
        if any(name == b"transfer-encoding" for name, _ in _pairs(headers)):
            yield violation(
                "response-transfer-encoding",
                "the application sent http.response.start with the header transfer-encoding; leave it out: "
                "the server frames the body.",
            )
        lengths = _lengths(headers)
        left = None
        if len(lengths) == 1 and _is_number(lengths[0]):
            left = int(lengths[0])
        elif lengths:
            yield violation(
                "response-length",
                f"the application sent http.response.start with the content-length "
                f"{_shown(b', '.join(lengths))}; send one decimal number, or no content-length.",
            )
        bodiless = status in (204, 205, 304)
        self._has_body = not bodiless
        self._left = None if bodiless or self._method == "HEAD" else left
        self._trailers = trailers

    def _take(self, size: int, *, ends: bool) -> Faults:
        """*size* bytes of the body are sent."""
        if size and not self._has_body:
            yield violation(
                "response-bodiless",
                f"the application sent {size} bytes of a body although the status does not allow for one; "
                f"send an empty body.",
            )
        left = self._left
        if left is None:
            return
        left -= size
        if left < 0 or (left and ends):
            difference = f"{-left} bytes longer" if left < 0 else f"{left} bytes shorter"
            yield violation(
                "response-length",
                f"the application sent a body that is {difference} than its content-length; declare the "
                f"length that is sent, or none.",
            )
        self._left = left

    def end(self) -> Faults:
        if self._response is not ResponsePhase.DONE and not self.gone:
            yield violation(
                "response-complete",
                f"the application returned although {self._response.value}; send the response to its end, "
                f"with a last http.response.body without 'more_body'"
                + (", and then the trailers." if self._response is ResponsePhase.TRAILERS else "."),
            )


_ADVICE: Final = {
    ResponsePhase.WAITING: "send that first.",
    ResponsePhase.STARTED: "go on with http.response.body.",
    ResponsePhase.OPEN: "go on with http.response.body.",
    ResponsePhase.TRAILERS: "send http.response.trailers.",
}


def _request_length(headers: Any) -> int | None:
    pairs = _pairs(headers)
    lengths = _lengths(headers)
    # RFC 9112, 6.3: where both are given, the chunked framing says where the body ends.
    if len(lengths) != 1 or any(name == b"transfer-encoding" for name, _ in pairs):
        return None
    return int(lengths[0]) if _is_number(lengths[0]) else None


# RFC 6455, 7.4, and the registry that it has made.
_CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})
_REASON_BYTES = 123


class SocketConversation(Conversation):
    def __init__(self, scope: Mapping[str, Any]) -> None:
        super().__init__(scope)
        self._phase = SocketPhase.NEW
        self._connected = False  # the application has got websocket.connect; who refuses may do so without
        subprotocols = scope.get("subprotocols", ())
        self._subprotocols = subprotocols if isinstance(subprotocols, list | tuple) else ()

    def _event(self, kind: str, event: Mapping[str, Any]) -> Faults:
        if kind == "websocket.receive":
            yield from _payload_faults("event-payload", "the server gave", event)
        before = SocketPhase.GONE if self.gone else self._phase if self._connected else SocketPhase.NEW
        phase = _SOCKET_EVENTS.get((before, kind))
        if phase is None:
            yield _untimely_event(kind, before)
        else:
            if self._phase is SocketPhase.NEW:
                self._phase = phase
            self._connected = True
        self.gone = self.gone or kind == "websocket.disconnect"

    def _message(self, kind: str, message: Mapping[str, Any]) -> Faults:
        phase = _SOCKET_MESSAGES.get((self._phase, _step(kind, message)))
        if phase is None:
            if self._phase is SocketPhase.CLOSED:
                yield violation(
                    "message-after-end",
                    f"the application sent {kind} although it has closed or refused the connection; send "
                    f"nothing more.",
                )
            else:
                yield _untimely_message(kind, self._phase, _SOCKET_ADVICE[self._phase])
            return
        if kind == "websocket.accept":
            yield from self._accept(message)
        elif kind == "websocket.send":
            yield from _payload_faults("message-payload", "the application sent", message)
        elif kind == "websocket.close":
            yield from _close_faults(message)
        elif kind == "websocket.http.response.start":
            yield from _status_faults(kind, message.get("status"))
        self._phase = phase

    def _accept(self, message: Mapping[str, Any]) -> Faults:
        subprotocol = message.get("subprotocol")
        if isinstance(subprotocol, str) and subprotocol not in self._subprotocols:
            yield violation(
                "accept-subprotocol",
                f"the application accepted the subprotocol {_shown(subprotocol)}, which the client has not "
                f"offered; take one of scope['subprotocols'], or none.",
            )
        if any(name == b"sec-websocket-protocol" for name, _ in _pairs(message.get("headers"))):
            yield violation(
                "accept-headers",
                "the application sent websocket.accept with the header sec-websocket-protocol; name the "
                "subprotocol in 'subprotocol'.",
            )

    def end(self) -> Faults:
        answered = self._phase in (SocketPhase.OPEN, SocketPhase.CLOSED)
        if not answered and not self.gone:
            yield violation(
                "websocket-answered",
                f"the application returned although {self._phase.value}; send websocket.accept or "
                f"websocket.close, and a response of your own to its end.",
            )


_SOCKET_ADVICE: Final = {
    SocketPhase.NEW: "await receive() first.",
    SocketPhase.CONNECTING: "send websocket.accept or websocket.close first.",
    SocketPhase.OPEN: "send websocket.send or websocket.close.",
    SocketPhase.STARTED: "send websocket.http.response.body.",
    SocketPhase.REFUSING: "send websocket.http.response.body.",
}


def _payload_faults(rule: str, what: str, given: Mapping[str, Any]) -> Faults:
    payloads = [key for key in ("bytes", "text") if given.get(key) is not None]
    if len(payloads) != 1:
        yield violation(
            rule,
            f"{what} {given['type']} with {' and '.join(payloads) or 'neither bytes nor text'}; one of the "
            f"two, and not both, has to be there and not None.",
        )


def _close_faults(message: Mapping[str, Any]) -> Faults:
    code = message.get("code", 1000)
    if _is_int(code) and code not in _CLOSE_CODES:
        yield violation(
            "close-code",
            f"the application sent websocket.close with the code {code}, which may not be sent; send 1000, "
            f"or one from 3000 to 4999.",
        )
    reason = message.get("reason")
    if isinstance(reason, str) and len(reason.encode("utf-8", "replace")) > _REASON_BYTES:
        yield violation(
            "close-reason",
            f"the application sent websocket.close with the reason {_shown(reason)}; a reason has room for "
            f"{_REASON_BYTES} bytes of UTF-8: shorten it.",
        )


class LifespanConversation(Conversation):
    def __init__(self, scope: Mapping[str, Any]) -> None:
        super().__init__(scope)
        self._phase = LifespanPhase.NEW

    def is_starting(self) -> bool:
        return not self.over and self._phase in (LifespanPhase.NEW, LifespanPhase.STARTING)

    def receive(self) -> Faults:
        if self._phase in (LifespanPhase.STOPPING, LifespanPhase.STOPPED):
            yield violation(
                "receive-after-shutdown",
                "the application awaited receive() after lifespan.shutdown, and would wait for ever; answer "
                "lifespan.shutdown, and return.",
            )

    def _event(self, kind: str, event: Mapping[str, Any]) -> Faults:
        phase = _LIFESPAN_EVENTS.get((self._phase, kind))
        if phase is None:
            yield _untimely_event(kind, self._phase)
            return
        self._phase = phase

    def _message(self, kind: str, message: Mapping[str, Any]) -> Faults:
        phase = _LIFESPAN_MESSAGES.get((self._phase, kind))
        if phase is None:
            if self._phase in (LifespanPhase.FAILED, LifespanPhase.STOPPED):
                yield violation(
                    "message-after-end",
                    f"the application sent {kind} although {self._phase.value}; send nothing more.",
                )
            else:
                yield _untimely_message(kind, self._phase, "send one answer to each event, after it.")
            return
        self._phase = phase

    def end(self) -> Faults:
        if self._phase not in (LifespanPhase.FAILED, LifespanPhase.STOPPED):
            yield violation(
                "lifespan-answered",
                f"the application returned from its lifespan although {self._phase.value}; answer "
                f"lifespan.startup, wait for lifespan.shutdown and answer it. Raise for a scope of type "
                f"lifespan where there is nothing to do.",
            )


_CONVERSATIONS: Final[Mapping[str, type[Conversation]]] = {
    "http": HttpConversation,
    "websocket": SocketConversation,
    "lifespan": LifespanConversation,
}


def conversation_for(scope: Mapping[str, Any]) -> Conversation:
    """What follows a call with *scope*."""
    return _CONVERSATIONS.get(scope.get("type", ""), Conversation)(scope)

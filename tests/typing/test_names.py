"""The names, beside those of asgiref and of the standard library."""

import inspect
from typing import Any, get_args, get_type_hints, is_typeddict
from wsgiref import types as stdlib

import asgiref.typing
import pytest

import asgiadapt.typing as ours

# asgiref has this one too, and does not list it.
NAMES = [*asgiref.typing.__all__, "HTTPResponseDebugEvent"]
DICTS = [name for name in NAMES if is_typeddict(getattr(asgiref.typing, name))]
# One of these has bytes or text, and so each is two dicts here (TYPES-11).
IN_TWO_FORMS = {"WebSocketReceiveEvent", "WebSocketSendEvent"}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_asgiref_is_ours_too(name: str) -> None:
    """Whoever imports from there can import from here."""
    assert name in ours.__all__


@pytest.mark.parametrize("name", [name for name in DICTS if name not in IN_TWO_FORMS])
def test_a_dict_of_asgiref_has_the_same_keys_here(name: str) -> None:
    """More of them may be missing here: asgiref requires some that have a default."""
    theirs, kind = getattr(asgiref.typing, name), getattr(ours, name)
    assert get_type_hints(kind).keys() == get_type_hints(theirs).keys()
    assert kind.__optional_keys__ >= theirs.__optional_keys__
    assert get_type_hints(kind).get("type") == get_type_hints(theirs).get("type")


@pytest.mark.parametrize("name", sorted(IN_TWO_FORMS))
def test_both_forms_of_a_message_have_the_keys_of_asgiref(name: str) -> None:
    """The two differ in which of them is there."""
    theirs = get_type_hints(getattr(asgiref.typing, name))
    for form in get_args(getattr(ours, name)):
        assert get_type_hints(form).keys() == theirs.keys()
        assert get_type_hints(form)["type"] == theirs["type"]


def event_types(union: Any) -> set[str]:
    return {get_args(get_type_hints(kind)["type"])[0] for kind in get_args(union)}


@pytest.mark.parametrize("name", ["Scope", "WWWScope", "ASGIReceiveEvent"])
def test_a_union_of_asgiref_has_the_same_types_here(name: str) -> None:
    """No scope is missing, and nothing that is received."""
    assert event_types(getattr(ours, name)) == event_types(getattr(asgiref.typing, name))


def test_what_asgiref_forgets_to_send_can_be_sent() -> None:
    """TYPES-07: extension events are added; ``http.disconnect``, which no application sends, is left out."""
    sent, theirs = event_types(ours.ASGISendEvent), event_types(asgiref.typing.ASGISendEvent)
    assert sent >= theirs - {"http.disconnect"}
    assert "http.disconnect" not in sent
    assert {
        "http.response.debug",
        "http.response.early_hint",
        "http.response.pathsend",
        "http.response.zerocopysend",
    } <= sent


def methods(protocol: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(value)
        for name, value in vars(protocol).items()
        if inspect.isfunction(value) and name not in ("__init__", "__subclasshook__")
    }


@pytest.mark.parametrize("name", stdlib.__all__)
def test_a_name_of_the_standard_library_is_ours_too(name: str) -> None:
    """TYPES-08: the protocols of ``wsgiref.types`` have the same methods here."""
    assert name in ours.__all__
    theirs, kind = getattr(stdlib, name), getattr(ours, name)
    if not isinstance(theirs, type):
        return
    assert methods(kind).keys() == methods(theirs).keys()
    for method, signature in methods(theirs).items():
        parameters = methods(kind)[method].parameters.values()
        assert [(p.name, p.kind, p.default) for p in parameters] == [
            (p.name, p.kind, p.default) for p in signature.parameters.values()
        ]


def test_an_environ_is_a_dict() -> None:
    """TYPES-08, and a WSGI application takes it in the first place."""
    assert ours.WSGIEnvironment == stdlib.WSGIEnvironment == dict[str, Any]
    parameters, _ = get_args(ours.WSGIApplication)
    assert parameters == [dict[str, Any], ours.StartResponse]

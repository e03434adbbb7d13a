"""Lifespan events, in the one order that there is."""

import asyncio
from typing import Any

import pytest

from asgiadapt._errors import ApplicationOrderError, ApplicationTypeError, ApplicationValueError, ServerError
from asgiadapt._sansio.lifespan import Lifespan, LifespanPhase, check_lifespan_event


@pytest.mark.parametrize("kind", ["lifespan.startup", "lifespan.shutdown"])
def test_the_event_that_is_due_passes(kind: str) -> None:
    """Whatever else it carries."""
    check_lifespan_event({"type": kind, "more": 1}, kind)


@pytest.mark.parametrize(
    ("came", "due"),
    [
        ("lifespan.shutdown", "lifespan.startup"),
        ("lifespan.startup", "lifespan.shutdown"),
        ("http.request", "lifespan.startup"),
    ],
)
def test_another_event_is_the_servers_fault(came: str, due: str) -> None:
    """The text names both."""
    with pytest.raises(ServerError, match=f"the lifespan event '{came}' where '{due}' was due"):
        check_lifespan_event({"type": came}, due)


# The server's side

STARTED, START_FAILED = "lifespan.startup.complete", "lifespan.startup.failed"
STOPPED, STOP_FAILED = "lifespan.shutdown.complete", "lifespan.shutdown.failed"


def lifespan(phase: LifespanPhase, *, required: bool = False) -> Lifespan:
    """One that has come to *phase*."""
    made = Lifespan(required=required)
    if phase is LifespanPhase.FAILED:
        made.accept({"type": START_FAILED})
    elif phase is LifespanPhase.UNSUPPORTED:
        made.end(None)
    elif phase is not LifespanPhase.STARTING:
        made.accept({"type": STARTED})
        if phase is not LifespanPhase.RUNNING:
            made.stop()
        if phase is LifespanPhase.STOPPED:
            made.accept({"type": STOPPED})
    assert made.phase is phase
    return made


STEPS = {
    (LifespanPhase.STARTING, STARTED): LifespanPhase.RUNNING,
    (LifespanPhase.STARTING, START_FAILED): LifespanPhase.FAILED,
    (LifespanPhase.STOPPING, STOPPED): LifespanPhase.STOPPED,
    (LifespanPhase.STOPPING, STOP_FAILED): LifespanPhase.STOPPED,
}


@pytest.mark.parametrize("kind", [STARTED, START_FAILED, STOPPED, STOP_FAILED, "http.response.start", ""])
@pytest.mark.parametrize("phase", list(LifespanPhase))
def test_what_may_be_sent_in_a_phase(phase: LifespanPhase, kind: str) -> None:
    """Each of the four in its place; everything else raises, tells the phase and changes nothing."""
    made = lifespan(phase)
    before = made.started, made.failed, made.message
    if (step := STEPS.get((phase, kind))) is not None:
        made.accept({"type": kind, "message": "the word"})
        assert made.phase is step
        return
    with pytest.raises(ApplicationOrderError, match=f"sent '{kind}' in its lifespan although {phase.value};"):
        made.accept({"type": kind})
    assert made.phase is phase
    assert (made.started, made.failed, made.message) == before


def test_a_life_without_trouble() -> None:
    """Started, not failed, and stopped."""
    made = Lifespan(required=True)
    assert not made.started
    made.accept({"type": STARTED, "message": "means nothing here"})
    assert (made.started, made.failed, made.message) == (True, False, "")
    made.stop()
    made.accept({"type": STOPPED})
    made.end(None)
    assert (made.started, made.failed, made.message) == (True, False, "")
    assert made.phase is LifespanPhase.STOPPED


@pytest.mark.parametrize(
    ("phase", "kind"), [(LifespanPhase.STARTING, START_FAILED), (LifespanPhase.STOPPING, STOP_FAILED)]
)
@pytest.mark.parametrize(
    ("extra", "text"),
    [({"message": "why"}, "why"), ({}, ""), ({"message": ""}, ""), ({"message": 5}, "5")],
)
def test_a_failure_has_the_applications_message(
    phase: LifespanPhase, kind: str, extra: dict[str, Any], text: str
) -> None:
    """As text, perhaps an empty one."""
    made = lifespan(phase)
    made.accept({"type": kind, **extra})
    assert (made.failed, made.message) == (True, text)
    assert made.started is (phase is LifespanPhase.STOPPING)


@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [
        (None, ApplicationTypeError, "a NoneType; send a dict"),
        ({}, ApplicationValueError, "the type None; give a str"),
    ],
)
def test_what_is_no_message_raises(message: Any, kind: type[Exception], text: str) -> None:
    """As in a response."""
    with pytest.raises(kind, match=text):
        Lifespan(required=False).accept(message)


def test_the_shutdown_is_due_once() -> None:
    """Not before it begins, and for one taker."""
    made = lifespan(LifespanPhase.RUNNING)
    assert not made.take_shutdown()
    made.stop()
    assert made.phase is LifespanPhase.STOPPING
    assert made.take_shutdown()
    assert not made.take_shutdown()


@pytest.mark.parametrize(
    ("phase", "after"),
    [
        (LifespanPhase.STARTING, LifespanPhase.FAILED),
        (LifespanPhase.STOPPING, LifespanPhase.STOPPED),
        (LifespanPhase.RUNNING, LifespanPhase.STOPPED),
    ],
)
def test_an_answer_that_takes_too_long_is_a_failure(phase: LifespanPhase, after: LifespanPhase) -> None:
    """What is sent later has no place."""
    made = lifespan(phase)
    made.give_up("too late")
    assert (made.phase, made.failed, made.message) == (after, True, "too late")
    with pytest.raises(ApplicationOrderError, match=f"although {after.value}"):
        made.accept({"type": STARTED})


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (None, "the application returned without an answer"),
        (KeyError("x"), "the application raised KeyError: 'x'"),
        (SystemExit(3), "the application raised SystemExit: 3"),
        (asyncio.CancelledError(), "the application raised CancelledError: "),
    ],
)
@pytest.mark.parametrize("required", [False, True])
def test_an_end_before_the_answer(error: BaseException | None, text: str, required: bool) -> None:
    """Want of support, unless it was required or is no Exception."""
    made = Lifespan(required=required)
    made.end(error)
    failed = required or not (error is None or isinstance(error, Exception))
    assert made.failed is failed
    assert made.phase is (LifespanPhase.FAILED if failed else LifespanPhase.UNSUPPORTED)
    assert made.message == text
    assert not made.started


@pytest.mark.parametrize("error", [None, KeyError("x"), SystemExit(3)])
@pytest.mark.parametrize("phase", [phase for phase in LifespanPhase if phase is not LifespanPhase.STARTING])
def test_an_end_after_the_answer_is_no_failure(phase: LifespanPhase, error: BaseException | None) -> None:
    """Nobody is left to tell of the shutdown; what has ended before stays as it was."""
    made = lifespan(phase)
    failed = made.failed
    made.end(error)
    living = phase in (LifespanPhase.RUNNING, LifespanPhase.STOPPING)
    assert made.phase is (LifespanPhase.STOPPED if living else phase)
    assert made.failed is failed

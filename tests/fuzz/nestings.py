"""Nestings of the bridges: a tree of calls, what it does, and what it has to do.

`Node` and its steps are the tree, and `trees` makes random ones. `Expected` walks through a tree as if there
were neither threads nor loops, one call after the other: branches that run at the same time share nothing
but threads. `Run` does what the tree says, and `check` compares.

Where code has to run is told by names: "root" is the thread of a synchronous program or the loop of an
asynchronous one, "shared" the thread of the sensitive calls that belong nowhere else; other names stand for
what the library chooses. A name always means the same thread or loop.
"""

import asyncio
import contextlib
import faulthandler
import os
import sys
import threading
import time
import types
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Final, TypeAlias

import uvloop
from hypothesis import strategies as st

from asgiadapt import (
    DeadlockError,
    Local,
    LoopThread,
    ThreadSensitiveContext,
    WorkerPool,
    async_to_sync,
    cancelled,
    set_default_loop,
    set_loop_factory,
    sync_to_async,
)
from asgiadapt._threads import strand, workers

DEPTH: Final = 6
NODES: Final = 24  # fewer than the threads of a pool: a call never waits because others do
TIME_LIMIT: Final = 30.0
VARIABLES: Final = tuple(ContextVar[Any](f"variable {name}", default=None) for name in range(3))
LOCALS: Final = ("a", "b")  # the variables after those are attributes of a `Local`
LOCAL: Final = Local()

Path: TypeAlias = tuple[int, ...]

# The tree


class Short:
    """Shows the fields that are not what they are by default, as an expression."""

    def __repr__(self) -> str:
        shown = [
            f"{entry.name}={value!r}"
            for entry in fields(self)
            if (value := getattr(self, entry.name)) != entry.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


@dataclass(frozen=True, repr=False)
class Set(Short):
    """Set a variable; with *undo*, as it was before at the end of the node."""

    name: int
    undo: bool = False


@dataclass(frozen=True, repr=False)
class Fail(Short):
    """Raise `Failure`."""


@dataclass(frozen=True, repr=False)
class Gate(Short):
    """Stop here until the call around has been cancelled, or something else has been."""


@dataclass(frozen=True, repr=False)
class Leave(Short):
    """Start a task that nobody awaits, and that would never end."""


@dataclass(frozen=True, repr=False)
class Call(Short):
    """Call the children.

    *how* counts in async code. It is one of "await", "gather", "task", "group", "wait_for", "shield", and
        "cancel": in a task that is cancelled when somebody in it stands at the gate;
        "withdraw": two calls that need the same thread; while the first has it, the second is cancelled;
        "abandon": with abandon_on_cancel, and cancelled;
        "outlive": in a task that was started below an async_to_sync, and goes on when that has returned;
        "join": in a task, for which sync code waits by async_to_sync.
    The sync code of the last two is sensitive, unless it is *elsewhere*; *via* says how it waits.

    With *catch*, the node goes on after a `Failure`. With *swallow*, sync code goes on when it is told of a
    cancellation. With *handling*, the call is made in an ``except`` block.
    """

    how: str
    children: tuple["Node", ...]
    catch: bool = False
    swallow: bool = False
    handling: bool = False
    elsewhere: bool = False
    via: str = "await"


Step: TypeAlias = Set | Fail | Gate | Leave | Call


@dataclass(frozen=True, repr=False)
class Node(Short):
    """A function.

    For sync code below async code count *threads* ("sensitive", "any", "executor" or "pool"), *separate* (a
    context of its own) and *hook*. Async code below sync code may have a *loop* of its own: "fresh", or "run"
    by the sync code itself. With *own_thread*, async code does all in a `ThreadSensitiveContext`.
    """

    sync: bool
    steps: tuple[Step, ...] = ()
    threads: str = "sensitive"
    separate: bool = False
    hook: bool = False
    loop: str = ""
    own_thread: bool = False


TOGETHER: Final = ("await", "gather", "task", "group")  # any number of children
ALONE: Final = ("wait_for", "shield")
PATTERNS: Final = ("outlive", "join", "abandon", "withdraw", "cancel", "cancel")
AS_TASK: Final = ("gather", "task", "group", "shield", "cancel", "withdraw", "abandon", "outlive", "join")
VIAS: Final = ("await", "gather", "shield", "wait_for", "wait", "task")


@dataclass(frozen=True)
class Above:
    """What there is above a node.

    *waits*: an async_to_sync. *runs*: a loop started in sync code. *joined*: a task that sync code waits for.
    """

    depth: int = 0
    waits: bool = False
    runs: bool = False
    joined: bool = False


@st.composite
def trees(draw: st.DrawFn, sync: bool) -> Node:
    left = draw(st.integers(NODES // 4, NODES))
    rarely = st.integers(0, 7).map(lambda number: number == 7)
    sometimes = st.integers(0, 3).map(lambda number: number == 3)
    often = st.booleans()
    few = st.integers(0, 3)
    threads = st.sampled_from(["sensitive", "sensitive", "any", "any", "executor", "pool"])

    def take() -> bool:
        nonlocal left
        left -= 1
        return left >= 0

    def variable() -> Set:
        return Set(draw(st.integers(0, len(VARIABLES) + len(LOCALS) - 1)), draw(sometimes))

    def child(above: Above, parent_is_sync: bool, to_gate: bool = False) -> Node:
        """Any node."""
        # From the loop nobody can see whom the sync code below a task waits for.
        sync = draw(often) or (above.joined and parent_is_sync)
        loop = ""
        above = replace(above, depth=above.depth + 1)
        if parent_is_sync and not sync:
            if not above.runs and draw(sometimes):
                # What runs a loop is not told of a cancellation; and from a further loop below nobody can
                # see that a sensitive call would wait for the first one.
                loop = draw(st.sampled_from(["fresh"] if to_gate else ["fresh", "run", "run"]))
            above = replace(above, waits=above.waits or loop != "run", runs=loop == "run" or above.runs)
        steps = steps_to_gate(above, sync) if to_gate else [step(above, sync) for _ in range(draw(few))]
        if not sync:
            return Node(False, tuple(steps), loop=loop, own_thread=draw(rarely))
        if parent_is_sync:
            return Node(True, tuple(steps))
        return Node(True, tuple(steps), draw(threads), separate=draw(sometimes), hook=draw(sometimes))

    def step(above: Above, sync: bool) -> Step:
        kind = draw(st.sampled_from(["set", "fail", "leave", *["call"] * 6]))
        if kind == "fail" and draw(often):
            return Fail()
        if kind == "leave" and not sync:
            return Leave()
        if kind != "call" or above.depth == DEPTH or not take():
            return variable()
        return call(above, sync)

    def call(above: Above, sync: bool) -> Call:
        how = "await"
        if not sync:
            how = draw(st.sampled_from([*TOGETHER, *ALONE, *PATTERNS]))
        children: list[Node]
        if how == "cancel":
            children = [child(above, False, to_gate=True)]
        elif how == "withdraw":
            steps = (Gate(), *(step(replace(above, depth=above.depth + 1), True) for _ in range(draw(few))))
            children = [Node(True, steps), Node(True, (Set(0),))]
        elif how == "abandon":
            # A sensitive one would leave the thread to the calls beside it, sooner or later.
            kinds = ["any", "executor", "pool", *(["sensitive"] * above.waits)]
            children = [Node(True, (Gate(), variable()), draw(st.sampled_from(kinds)), hook=draw(sometimes))]
        else:
            children = [child(replace(above, joined=above.joined or how == "join"), sync)]
            while how in TOGETHER and draw(often) and take():
                children.append(child(above, sync))
        return Call(
            how,
            tuple(children),
            catch=draw(often),
            swallow=sync and draw(rarely),
            handling=draw(rarely),
            elsewhere=how in ("outlive", "join") and not above.joined and draw(often),
            via=draw(st.sampled_from(VIAS)) if how == "join" else "await",
        )

    def steps_to_gate(above: Above, sync: bool) -> list[Step]:
        steps = [step(above, sync) for _ in range(draw(st.integers(0, 1)))]
        if above.depth == DEPTH or not take() or draw(rarely):
            steps.append(Gate())
        else:
            how = "await" if sync else draw(st.sampled_from([*TOGETHER, *ALONE]))
            only = child(above, sync, to_gate=True)
            steps.append(
                Call(how, (only,), draw(rarely), swallow=sync and draw(often), handling=draw(rarely))
            )
        steps += [step(above, sync) for _ in range(draw(st.integers(0, 2)))]
        return steps

    return Node(sync, tuple(step(Above(), sync) for _ in range(draw(st.integers(2, 3)))))


# What it has to do


class Failure(Exception):
    """Raised by the step at *at*."""

    def __init__(self, at: Path) -> None:
        super().__init__(at)
        self.at = at


DEADLOCK: Final = -1  # in the place of a step: the call was refused


class Handled(Failure):
    """Handled while the step at *at* makes its call."""


class _Cancelled(Exception):
    pass


class _Gate:
    def __init__(self, does: str) -> None:
        self.does = does
        self.reached = False
        # The calls of sync code around, as far as a cancellation comes to them.
        self.origins: list[_Origin] = []


class _Origin:
    """A call of sync code by async code."""

    def __init__(self) -> None:
        self.cancelled = False
        self.cancels_next = False  # it was not waiting for async code, and the next such call is cancelled


@dataclass(frozen=True)
class World:
    """What is around a node.

    *waiting* is the outermost thread that waits in async_to_sync, *own* that of the outermost
    `ThreadSensitiveContext`. *running* is a thread that runs a loop although it is to run sensitive calls.
    *blocked* are all threads and loops that cannot do anything else meanwhile.
    """

    values: dict[int, Any]
    thread: Any = None
    loop: Any = None
    waiting: Any = None
    own: Any = None
    running: Any = None
    blocked: tuple[Any, ...] = ()
    handled: Path | None = None
    origin: _Origin | None = None
    gate: _Gate | None = None
    sheltered: bool = False

    def as_task(self) -> "World":
        return replace(self, values=dict(self.values), handled=None)


@dataclass(frozen=True)
class Place:
    """The name of a thread or of a loop, and which it must not be."""

    name: Any
    sync: bool
    apart_from: tuple[Any, ...]


Values: TypeAlias = tuple[Any, ...]


class Record:
    """What can be compared."""

    def __init__(self) -> None:
        self.outcome: Any = None
        self.seen: dict[Path, list[Values]] = {}  # the variables, after each step of each node
        self.told: dict[Path, bool] = {}  # what sync code hears of its cancellation, in the end
        self.hooks: list[Path] = []
        self.cancelled: list[Path] = []
        self.left = 0  # tasks that nobody has awaited, and that were cancelled in the end
        self.values: Values = ()  # the variables at the root, after all


class Expected(Record):
    """*keeps*: all calls that begin without a loop run on the same one."""

    def __init__(self, tree: Node, keeps: bool) -> None:
        super().__init__()
        self._keeps = keeps
        self.handled: dict[Path, Path | None] = {}
        self.places: dict[Path, Place] = {}
        values: dict[int, Any] = dict.fromkeys(range(len(VARIABLES) + len(LOCALS)))
        world = World(values, thread="root") if tree.sync else World(values, loop="root")
        try:
            self.outcome = "returned", self._run(tree, (), world)
        except Failure as error:
            self.outcome = "failed", error.at
        self.values = tuple(values.values())

    def _run(self, node: Node, path: Path, world: World) -> Any:
        values = world.values
        self.handled[path] = world.handled
        name = world.thread if node.sync else world.loop
        self.places[path] = Place(name, node.sync, world.blocked)
        if node.own_thread and world.own is None:
            world = replace(world, own=("own", path))
        seen = self.seen[path] = []
        seen.append(tuple(values.values()))
        results: list[Any] = []
        undo: list[tuple[int, Any]] = []
        try:
            for index, step in enumerate(node.steps):
                at = (*path, index)
                if isinstance(step, Set):
                    if step.undo:
                        undo.append((step.name, values[step.name]))
                    values[step.name] = at
                elif isinstance(step, Fail):
                    raise Failure(at)
                elif isinstance(step, Gate):
                    self._pass_gate(node, world)
                elif isinstance(step, Leave):
                    self.left += 1
                else:
                    below = replace(world, handled=at) if step.handling else world
                    call = self._call_from_sync if node.sync else self._call_from_async
                    try:
                        results.append(call(step, at, below))
                    except Failure as error:
                        if not step.catch:
                            raise
                        results.append(("caught", error.at))
                    except _Cancelled:
                        if not step.swallow:
                            raise
                        results.append("swallowed")
                seen.append(tuple(values.values()))
        finally:
            for name, value in reversed(undo):
                values[name] = value
            seen.append(tuple(values.values()))
            if node.sync:
                self.told[path] = world.origin is not None and world.origin.cancelled
        return path, tuple(results)

    def _pass_gate(self, node: Node, world: World) -> None:
        gate = world.gate
        assert gate is not None
        assert not gate.reached
        gate.reached = True
        if gate.does == "abandon":
            assert world.origin is not None
            world.origin.cancelled = True
        if gate.does == "cancel":
            for origin in gate.origins:
                origin.cancelled = True
            if not world.sheltered:
                if not node.sync:
                    raise _Cancelled
                assert world.origin is not None
                world.origin.cancels_next = True

    def _call_from_sync(self, step: Call, at: Path, world: World) -> Any:
        results = []
        for number, child in enumerate(step.children):
            path = (*at, number)
            if child.sync:
                results.append(self._run(child, path, world))
                continue
            below = replace(world, origin=None, blocked=(*world.blocked, world.thread, world.loop))
            if child.loop == "run":
                below = replace(
                    below.as_task(), handled=world.handled, loop=("run", path), running=world.thread
                )
                results.append(self._run(child, path, below))
                continue
            if world.origin is not None and world.origin.cancels_next:
                world.origin.cancels_next = False
                raise _Cancelled
            below = replace(below, waiting=world.waiting or world.thread)
            if child.loop == "fresh":
                below = replace(below, loop=("fresh", path))
            elif world.loop is None:
                below = replace(below, loop="kept" if self._keeps else ("new", path))
            else:
                below = replace(below, blocked=(*world.blocked, world.thread))
            results.append(self._run(child, path, below))
        return tuple(results)

    def _call_from_async(self, step: Call, at: Path, world: World) -> Any:
        children = [(child, (*at, number)) for number, child in enumerate(step.children)]
        path = children[0][1]
        is_task = step.how in AS_TASK or (step.how == "wait_for" and sys.version_info < (3, 12))
        below = world.as_task() if is_task else world
        match step.how:
            case "shield":
                with self._cancelled_inside(world):
                    return self._await(*children[0], replace(below, sheltered=True))
            case "cancel":
                try:
                    return self._await(*children[0], replace(below, gate=_Gate("cancel"), sheltered=False))
                except _Cancelled:
                    self.cancelled.append(path)
                    return "cancelled"
            case "withdraw":
                gate = _Gate("withdraw")
                try:
                    return self._await(*children[0], replace(below, gate=gate))
                finally:
                    self.cancelled += [children[1][1]] * gate.reached
            case "abandon":
                self._await(*children[0], replace(below, gate=_Gate("abandon")))
                self.cancelled.append(path)
                return "abandoned"
            case "outlive":
                if not step.elsewhere:
                    self._sensitive_thread(at, world)
            case "join":
                try:
                    return (self._await(*children[0], below),)
                finally:
                    if not step.elsewhere:
                        self._sensitive_thread(at, world)
        results = []
        failure = None
        for child in children:
            try:
                # Those beside it don't see what a task sets.
                results.append(self._await(*child, below.as_task() if is_task else world))
            except Failure as error:
                if not is_task:
                    raise
                failure = failure or error
        if failure is not None:
            raise failure
        return tuple(results)

    def _await(self, child: Node, path: Path, world: World) -> Any:
        if not child.sync:
            return self._run(child, path, world)
        thread = self._sensitive_thread(path, world) if child.threads == "sensitive" else ("free", path)
        world = replace(world, thread=thread, origin=_Origin())
        if child.separate:
            world = replace(world, values=dict(world.values))
        if child.hook:
            self.hooks.append(path)
            world.values[0] = "hook"
        with self._cancelled_inside(world):
            return self._run(child, path, world)

    def _sensitive_thread(self, path: Path, world: World) -> Any:
        thread = world.waiting or world.own or "shared"
        if thread == world.running:
            raise Failure((*path, DEADLOCK))
        return thread

    @contextlib.contextmanager
    def _cancelled_inside(self, world: World) -> Iterator[None]:
        """What comes back from a thread or a shield finds that it has been cancelled meanwhile."""
        gate = world.gate
        if gate is None or gate.does != "cancel" or gate.reached or world.sheltered:
            yield
            return
        if world.origin is not None:
            gate.origins.append(world.origin)
        try:
            yield
        finally:
            if gate.reached:
                raise _Cancelled
            if world.origin is not None:
                gate.origins.remove(world.origin)


# What it does


class GateState:
    """A gate, and the task that waits until somebody stands there. Made on that task's loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.reached = asyncio.Event()
        self.delivered = asyncio.Event()  # the cancellation has come to the innermost await that it comes to
        self._opened = threading.Event()
        self._open_for_task: Callable[[], Any] = _nothing
        self.entry: Path | None = None  # the sync function, called by async code, in which somebody stands

    async def is_reached_by(self, task: "asyncio.Task[Any]") -> bool:
        """False where *task* ends without."""
        reached = asyncio.create_task(self.reached.wait())
        await asyncio.wait([task, reached], return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
        await asyncio.wait([reached])
        return self.reached.is_set()

    def tell(self, event: asyncio.Event) -> None:
        self._loop.call_soon_threadsafe(event.set)

    def hold_thread(self, entry: Path) -> None:
        self.entry = entry
        self.tell(self.reached)
        self._opened.wait()

    async def hold_task(self) -> None:
        loop = asyncio.get_running_loop()
        opened = asyncio.Event()
        self._open_for_task = partial(loop.call_soon_threadsafe, opened.set)
        self.tell(self.reached)
        try:
            await opened.wait()
        except CancelledError:
            self._open_for_task = _nothing
            self.tell(self.delivered)
            raise

    def open(self) -> None:
        self._opened.set()
        self._open_for_task()


@types.coroutine
def watched(
    steps: Coroutine[Any, Any, Any], pending: Callable[[], Any], noted: Callable[[], Any]
) -> Generator[Any, Any, Any]:
    """Await *steps*; tell when it waits, and when it has taken note of a cancellation."""
    resume: Callable[[], Any] = partial(steps.send, None)
    tell = pending
    while True:
        try:
            pause = resume()
        except StopIteration as end:
            return end.value
        finally:
            tell()
        try:
            yield pause
        except GeneratorExit:
            steps.close()
            raise
        except BaseException as error:
            # The error of what was awaited comes this way, too.
            tell = noted if isinstance(error, CancelledError) else _nothing
            resume = partial(steps.throw, error)
        else:
            resume, tell = partial(steps.send, None), _nothing


def _nothing() -> None:
    pass


async def outcome(awaitable: Awaitable[Any]) -> Any:
    """The result, or the `Failure`."""
    try:
        return await awaitable
    except Failure as error:
        return error


def read() -> Values:
    return (*(variable.get() for variable in VARIABLES), *(getattr(LOCAL, name, None) for name in LOCALS))


def assign(name: int, value: Any) -> Callable[[], Any]:
    """Set a variable; gives what undoes it."""
    if name < len(VARIABLES):
        variable = VARIABLES[name]
        return partial(variable.reset, variable.set(value))
    attribute = LOCALS[name - len(VARIABLES)]
    undo: Callable[[], Any] = partial(delattr, LOCAL, attribute)
    if hasattr(LOCAL, attribute):
        undo = partial(setattr, LOCAL, attribute, getattr(LOCAL, attribute))
    setattr(LOCAL, attribute, value)
    return undo


@dataclass(frozen=True)
class Frame:
    """What is around a node: its gate, and the sync function that async code has called."""

    gate: GateState | None = None
    entry: Path | None = None


class Run(Record):
    """A tree as it runs. Each node writes to entries of its own."""

    def __init__(self, tree: Node) -> None:
        super().__init__()
        self.tree = tree
        self.handled: dict[Path, BaseException | None] = {}
        self.threads: dict[Path, threading.Thread] = {}
        self.loops: dict[Path, asyncio.AbstractEventLoop] = {}
        self.failures: dict[Path, Failure] = {}
        self.tasks: list[asyncio.Task[Any]] = []  # those that nobody awaits
        self.wrong: list[str] = []
        self.executor: ThreadPoolExecutor
        self.pool: WorkerPool

    # Roots

    def perform(self, root: "Root") -> None:
        # One thread of the pool is enough where all that wait are known to wait.
        size = NODES if "run" in repr(self.tree) else 1
        with ThreadPoolExecutor(NODES) as self.executor, WorkerPool(size) as self.pool:
            root(self)

    def as_program(self) -> None:
        self.threads[()] = threading.current_thread()
        context = copy_context()
        try:
            self.outcome = "returned", context.run(self.run_sync, self.tree, (), Frame())
        except Failure as error:
            self._check(error)
            self.outcome = "failed", error.at
        self.values = context.run(read)

    async def as_task(self) -> None:
        try:
            self.outcome = "returned", await self.run_async(self.tree, (), Frame())
        except Failure as error:
            self._check(error)
            self.outcome = "failed", error.at
        self.values = read()
        while len(asyncio.all_tasks() - set(self.tasks)) > 1:  # those of the bridges may be about to end
            await asyncio.sleep(0)

    # Nodes

    def run_sync(self, node: Node, path: Path, frame: Frame) -> Any:
        self._enter(node, path)
        results: list[Any] = []
        undo: list[Callable[[], Any]] = []
        try:
            for index, step in enumerate(node.steps):
                at = (*path, index)
                if isinstance(step, Set):
                    self._set(step, at, undo)
                elif isinstance(step, Fail):
                    raise self._failure(at)
                elif isinstance(step, Gate):
                    assert frame.gate is not None
                    assert frame.entry is not None
                    frame.gate.hold_thread(frame.entry)
                elif isinstance(step, Call):
                    try:
                        if step.handling:
                            try:
                                raise Handled(at)
                            except Handled:
                                results.append(self._call_from_sync(step, at, frame))
                        else:
                            results.append(self._call_from_sync(step, at, frame))
                    except Failure as error:
                        self._check(error)
                        if not step.catch:
                            raise
                        results.append(("caught", error.at))
                    except CancelledError:
                        if not step.swallow:
                            raise
                        results.append("swallowed")
                self.seen[path].append(read())
        finally:
            self._leave(path, undo)
            self.told[path] = cancelled()
        return path, tuple(results)

    async def run_async(self, node: Node, path: Path, frame: Frame) -> Any:
        self._enter(node, path)
        results: list[Any] = []
        undo: list[Callable[[], Any]] = []
        try:
            async with ThreadSensitiveContext() if node.own_thread else contextlib.nullcontext():
                for index, step in enumerate(node.steps):
                    at = (*path, index)
                    if isinstance(step, Set):
                        self._set(step, at, undo)
                    elif isinstance(step, Fail):
                        raise self._failure(at)
                    elif isinstance(step, Gate):
                        assert frame.gate is not None
                        await frame.gate.hold_task()
                    elif isinstance(step, Leave):
                        self.tasks.append(asyncio.create_task(asyncio.Event().wait()))
                    else:
                        try:
                            if step.handling:
                                try:
                                    raise Handled(at)
                                except Handled:
                                    results.append(await self._call_from_async(step, at, frame))
                            else:
                                results.append(await self._call_from_async(step, at, frame))
                        except Failure as error:
                            self._check(error)
                            if not step.catch:
                                raise
                            results.append(("caught", error.at))
                            # A coroutine into which an error was thrown does not see what those around it
                            # handle until it is resumed again: CPython's own gap.
                            await asyncio.sleep(0)
                    self.seen[path].append(read())
        finally:
            self._leave(path, undo)
        return path, tuple(results)

    def _enter(self, node: Node, path: Path) -> None:
        self.handled[path] = sys.exception()
        self.threads[path] = threading.current_thread()
        if path in self.seen:
            self.wrong.append(f"{path} was called twice")
        self.seen[path] = [read()]
        try:
            self.loops[path] = asyncio.get_running_loop()
        except RuntimeError:
            if not node.sync:
                self.wrong.append(f"{path} is async code, and has no loop")
        else:
            if node.sync:
                self.wrong.append(f"{path} is sync code, and runs on the thread of a loop")

    def _leave(self, path: Path, undo: list[Callable[[], Any]]) -> None:
        for restore in reversed(undo):
            restore()
        self.seen[path].append(read())

    def _set(self, step: Set, at: Path, undo: list[Callable[[], Any]]) -> None:
        restore = assign(step.name, at)
        if step.undo:
            undo.append(restore)

    def _failure(self, at: Path) -> Failure:
        self.failures[at] = Failure(at)
        return self.failures[at]

    def _check(self, error: Failure) -> None:
        if self.failures.get(error.at) is not error:
            self.wrong.append(f"{error!r} is not the object that was raised")

    def _check_loop(self, path: Path) -> None:
        """The call of *path* has ended, and nothing goes on on its loop but on a `LoopThread`."""
        loop = self.loops.get(path)  # none if it was cancelled before it began
        if loop is not None and not loop.is_running() and asyncio.all_tasks(loop):
            self.wrong.append(f"{path} has left tasks behind: {asyncio.all_tasks(loop)}")

    # Calls

    def _call_from_sync(self, step: Call, at: Path, frame: Frame) -> Any:
        results = []
        for number, child in enumerate(step.children):
            path = (*at, number)
            if child.sync:
                results.append(self.run_sync(child, path, frame))
                continue
            inner = replace(frame, entry=None)
            if child.loop == "run":
                results.append(asyncio.run(self.run_async(child, path, inner)))
            else:
                call = async_to_sync(self.run_async, force_new_loop=child.loop == "fresh")
                try:
                    results.append(call(child, path, inner))
                finally:
                    if child.loop == "fresh" or frame.entry is None:
                        self._check_loop(path)
        return tuple(results)

    async def _bridge(self, child: Node, path: Path, frame: Frame, abandon: bool = False) -> Any:
        call = sync_to_async(
            self.run_sync,
            thread_sensitive=child.threads == "sensitive",
            executor={"executor": self.executor, "pool": self.pool}.get(child.threads),
            context=copy_context() if child.separate else None,
            abandon_on_cancel=abandon,
            hook=partial(self._hook, path) if child.hook else None,
        )
        with self._refused(path):
            return await call(child, path, replace(frame, entry=path))

    @contextlib.contextmanager
    def _refused(self, path: Path) -> Iterator[None]:
        try:
            yield
        except DeadlockError as error:
            assert "has to run the call" in str(error)
            raise self._failure((*path, DEADLOCK)) from None

    @contextlib.contextmanager
    def _hook(self, path: Path) -> Iterator[None]:
        self.hooks.append(path)
        thread = threading.current_thread()
        assign(0, "hook")
        yield
        if threading.current_thread() is not thread or thread is not self.threads[path]:
            self.wrong.append(f"the hook of {path} was entered, run and left on different threads")

    def _begin(
        self, child: Node, path: Path, frame: Frame, pending: Callable[[], Any] = _nothing
    ) -> Coroutine[Any, Any, Any]:
        """What *child* gives, to be awaited."""
        if not child.sync:
            return self.run_async(child, path, frame)
        coroutine = self._bridge(child, path, frame)
        gate = frame.gate
        if gate is None and pending is _nothing:
            return coroutine

        def noted() -> None:
            if gate is not None and gate.entry == path:
                gate.tell(gate.delivered)

        async def watch() -> Any:
            return await watched(coroutine, pending, noted)

        return watch()

    async def _call_from_async(self, step: Call, at: Path, frame: Frame) -> Any:
        children = [(child, (*at, number)) for number, child in enumerate(step.children)]
        begin = [partial(self._begin, child, path, frame) for child, path in children]
        results: list[Any]
        match step.how:
            case "await":
                return tuple([await one() for one in begin])
            case "gather":
                results = await asyncio.gather(*(one() for one in begin), return_exceptions=True)
            case "task":
                tasks = [asyncio.create_task(outcome(one())) for one in begin]
                results = [await task for task in tasks]
            case "group":
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(outcome(one())) for one in begin]
                results = [task.result() for task in tasks]
            case "wait_for":
                results = [await asyncio.wait_for(begin[0](), TIME_LIMIT * 2)]
            case "outlive":
                results = [await self._outlive(begin[0], at, step.elsewhere)]
            case "join":
                results = [await self._join(begin[0], at, step)]
            case "shield":
                return await self._shield(begin[0](), frame)
            case "cancel":
                return await self._cancel(*children[0])
            case "withdraw":
                return await self._withdraw(*children)
            case "abandon":
                return await self._abandon(*children[0])
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return tuple(results)

    async def _outlive(self, begin: Callable[[], Coroutine[Any, Any, Any]], at: Path, elsewhere: bool) -> Any:
        opened = asyncio.Event()
        loop = asyncio.get_running_loop()
        tasks = []

        async def late() -> Any:
            await opened.wait()
            return await begin()

        async def start() -> None:
            tasks.append(asyncio.create_task(late()))

        def leave_behind() -> None:
            async_to_sync(start)()
            loop.call_soon_threadsafe(opened.set)

        with self._refused(at):
            await sync_to_async(leave_behind, thread_sensitive=not elsewhere)()
        return await tasks[0]

    async def _join(self, begin: Callable[[], Coroutine[Any, Any, Any]], at: Path, step: Call) -> Any:
        task = asyncio.create_task(begin())

        async def join() -> Any:
            match step.via:
                case "gather":
                    (result,) = await asyncio.gather(task)
                    return result
                case "shield":
                    return await asyncio.shield(task)
                case "wait_for":
                    return await asyncio.wait_for(task, TIME_LIMIT * 2)
                case "wait":
                    await asyncio.wait([task])
                case "task":
                    return await asyncio.create_task(outcome(task))
            return await task

        try:
            with self._refused(at):
                return await sync_to_async(async_to_sync(join), thread_sensitive=not step.elsewhere)()
        finally:
            await asyncio.wait([task])
            task.exception()

    async def _shield(self, coroutine: Coroutine[Any, Any, Any], frame: Frame) -> Any:
        task = asyncio.create_task(coroutine)
        try:
            return await asyncio.shield(task)
        except CancelledError:
            assert frame.gate is not None
            frame.gate.tell(frame.gate.delivered)
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()
            raise

    async def _cancel(self, child: Node, path: Path) -> Any:
        gate = GateState()
        task = asyncio.create_task(self._begin(child, path, Frame(gate)))
        if not await gate.is_reached_by(task):
            return await task
        task.cancel()
        await gate.delivered.wait()
        gate.open()
        await self._has_to_be_cancelled(task, path)
        return "cancelled"

    async def _withdraw(self, first: tuple[Node, Path], second: tuple[Node, Path]) -> Any:
        gate = GateState()
        holder = asyncio.create_task(self._begin(*first, Frame(gate)))
        if await gate.is_reached_by(holder):
            pending = asyncio.Event()
            task = asyncio.create_task(self._begin(*second, Frame(), pending.set))
            await pending.wait()
            task.cancel()
            await self._has_to_be_cancelled(task, second[1])
            gate.open()
        return await holder

    async def _abandon(self, child: Node, path: Path) -> Any:
        gate = GateState()
        task = asyncio.create_task(self._bridge(child, path, Frame(gate), abandon=True))
        if not await gate.is_reached_by(task):
            return await task
        task.cancel()
        await self._has_to_be_cancelled(task, path)
        gate.open()
        while path not in self.told:
            await asyncio.sleep(0)  # let the thread go on; `time_limit` ends this
        return "abandoned"

    async def _has_to_be_cancelled(self, task: "asyncio.Task[Any]", path: Path) -> None:
        await asyncio.wait([task])
        self.cancelled.append(path)
        if not task.cancelled():
            self.wrong.append(f"the cancellation of {path} was swallowed: {task!r}")
            task.exception()


# The comparison

Root: TypeAlias = Callable[[Run], None]


def main_thread(run: Run) -> None:
    run.as_program()


def other_thread(run: Run) -> None:
    thread = threading.Thread(target=run.as_program)
    thread.start()
    thread.join()


def loop_thread(run: Run) -> None:
    with LoopThread() as loop:
        set_default_loop(loop)
        try:
            run.as_program()
        finally:
            set_default_loop(None)


def main_thread_with_uvloop(run: Run) -> None:
    set_loop_factory(uvloop.new_event_loop)
    try:
        run.as_program()
    finally:
        set_loop_factory(None)


def running_loop(run: Run) -> None:
    asyncio.run(run.as_task(), debug=False)


def debugged_loop(run: Run) -> None:
    asyncio.run(run.as_task(), debug=True)


def running_uvloop(run: Run) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run.as_task())


# A uvloop does not show whether something is left in it, so each call has a new one.
KEEPING: Final[set[Root]] = {main_thread, other_thread, loop_thread}

# The thread of all sensitive calls that belong nowhere else.
SHARED: list[threading.Thread] = []


def check(tree: Node, root: Root, capture: Any) -> None:
    """Run *tree* from *root*, and compare."""
    run = Run(tree)
    with time_limit(f"check({tree!r}, {root.__name__}, ...)", capture):
        run.perform(root)
        all_calls_have_ended()
    compare(run, root)


def check_together(programs: list[tuple[Node, Root]], capture: Any) -> None:
    """Run each on a thread of its own, at the same time, and compare."""
    runs = [Run(tree) for tree, _ in programs]
    roots = [root for _, root in programs]
    shown = ", ".join(f"({tree!r}, {root.__name__})" for tree, root in programs)
    with time_limit(f"check_together([{shown}], ...)", capture):
        with ThreadPoolExecutor(len(runs)) as threads:
            list(threads.map(Run.perform, runs, roots))
        all_calls_have_ended()
    for run in runs:
        compare(run, other_thread)


def compare(run: Run, root: Root) -> None:
    expected = Expected(run.tree, root in KEEPING)
    assert run.wrong == []
    assert run.outcome == expected.outcome
    assert differences(run.seen, expected.seen) == {}
    assert run.values == expected.values
    assert differences(run.told, expected.told) == {}
    assert sorted(run.hooks) == sorted(expected.hooks)
    assert sorted(run.cancelled) == sorted(expected.cancelled)
    for path, at in expected.handled.items():
        error = run.handled[path]
        if at is not None:
            assert isinstance(error, Handled), f"{path} does not find in sys.exc_info() what {at} handles"
            assert error.at == at
    assert [task.cancelled() for task in run.tasks] == [True] * expected.left
    check_places(run, expected)
    check_loops(run, expected, root)


def differences(actual: dict[Path, Any], expected: dict[Path, Any]) -> dict[Path, tuple[Any, Any]]:
    paths = actual.keys() | expected.keys()
    pairs = {path: (actual.get(path), expected.get(path)) for path in sorted(paths)}
    return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}


def check_places(run: Run, expected: Expected) -> None:
    known: dict[Any, Any] = {"root": run.threads[()] if run.tree.sync else run.loops[()]}
    if SHARED and SHARED[0].is_alive():
        known["shared"] = SHARED[0]
    for path, place in expected.places.items():
        actual = run.threads[path] if place.sync else run.loops[path]
        assert known.setdefault(place.name, actual) is actual, f"{path} has to run on {place.name}"
        if place.name == "root":
            assert run.threads[path] is run.threads[()]
    for path, place in expected.places.items():
        actual = run.threads[path] if place.sync else run.loops[path]
        for other in place.apart_from:
            assert place.name == other or known.get(other) is not actual, f"{path} runs on {other}"
    if "shared" in known:
        SHARED[:] = [known["shared"]]


def check_loops(run: Run, expected: Expected, root: Root) -> None:
    for path, loop in run.loops.items():
        assert asyncio.all_tasks(loop) == set()
        # The main thread goes on with it in the next example.
        is_kept = root is main_thread and expected.places[path].name == "kept"
        assert loop.is_closed() is not is_kept, f"{path} ran on {loop}"


def all_calls_have_ended() -> None:
    for pool in list(workers._POOLS):
        # The shared thread is leased for good.
        leased = 1 if pool is strand.leases else 0
        while (stats := pool.stats()).busy > leased or stats.waiting:
            time.sleep(0)  # let them go on; `time_limit` ends this


@contextlib.contextmanager
def time_limit(doing: str, capture: Any) -> Iterator[None]:
    """End the process where the block takes too long; tell what was done, and where each thread stands."""

    def expire() -> None:
        with capture.disabled():
            sys.stderr.write(f"\nThis hangs:\n{doing}\n")
            faulthandler.dump_traceback()
            os._exit(1)

    timer = threading.Timer(TIME_LIMIT, expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()

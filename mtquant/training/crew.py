"""Processes that each train one seed after the other, as many at a time as there are cores.

A worker gets orders through a pipe and answers with the run's news, then how it ended. It ignores
Ctrl-C itself: the user stops the whole crew by an event that each worker looks at whenever it has
news, so that it saves what a resumed run needs. A worker whose parent is gone saves and ends too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver, get_all_start_methods, get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from threading import current_thread, main_thread
from types import TracebackType

from mtquant.envs.scenario import Scenario
from mtquant.errors import ConfigError, DataError, MTQuantError
from mtquant.sim.custom_reward import CustomReward, register_reward
from mtquant.training.plan import Plan
from mtquant.training.progress import Listener, Silent
from mtquant.training.run import Interrupted, learn_run
from mtquant.training.seeds import mark_finished, seed_checkpoint

GRACE_SECONDS = 10.0
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
NEWS = ("text", "progress", "validation")
KINDS = {"ConfigError": ConfigError, "DataError": DataError}


@dataclass(frozen=True, eq=False)
class Order:
    """One seed to train.

    Attributes:
        plan: Of this seed.
        scenario: With its features computed.
        resume: Whether to go on from the state on disk.
        reward: The user's own, which a new process does not know yet.
    """

    plan: Plan
    scenario: Scenario
    resume: bool
    reward: CustomReward | None


class Crew:
    """Workers; a context manager that leaves none behind."""

    def __init__(self, size: int) -> None:
        """Have ``size`` workers; if they can fork, libraries load while the caller goes on."""
        self._context: SpawnContext | ForkServerContext = get_context("spawn")
        if "forkserver" in get_all_start_methods():
            self._context = get_context("forkserver")
            self._context.set_forkserver_preload([__name__])
            with for_workers():
                forkserver.ensure_running()
        self._size, self._stop = size, self._context.Event()
        self._processes: dict[Connection, BaseProcess] = {}

    def _start(self) -> None:
        with for_workers():
            for _ in range(self._size):
                here, there = self._context.Pipe()
                process = self._context.Process(target=_work, args=(there, self._stop), daemon=True)
                process.start()
                there.close()
                self._processes[here] = process

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pipe in self._processes:
            pipe.close()
        for process in self._processes.values():
            process.join(GRACE_SECONDS if kind is None else 0.0)
            process.terminate()
            process.join()

    def train(self, orders: Sequence[Order], listener: Listener) -> None:
        """Train all of them.

        Raises:
            MTQuantError: One failed; the others were stopped and have saved their states.
            KeyboardInterrupt: The user stopped it; all have saved their states.
        """
        self._start()
        waiting, idle = list(orders), list(self._processes)
        busy: dict[Connection, tuple[int, Listener]] = {}
        try:
            while waiting or busy:
                while waiting and idle:
                    pipe, order = idle.pop(), waiting.pop(0)
                    seed = order.plan.record.seed
                    busy[pipe] = (seed, listener.of_seed(seed))
                    _give(pipe, order)
                for pipe in _ready(busy):
                    if self._hear(pipe, *busy[pipe]):
                        del busy[pipe]
                        idle.append(pipe)
        except BaseException:
            self._stop.set()
            _drain(list(busy))
            raise

    def _hear(self, pipe: Connection, seed: int, listener: Listener) -> bool:
        """Take one message; True if it was the last."""
        try:
            kind, values = pipe.recv()
        except (EOFError, OSError):
            process = self._processes[pipe]
            process.join(GRACE_SECONDS)
            raise MTQuantError(
                f"seed {seed}: its process ended with exit code {process.exitcode}: it has printed "
                "why, or memory ran out; go on with --resume"
            ) from None
        if kind == "failed":
            name, reason = values
            raise KINDS.get(name, MTQuantError)(f"seed {seed}: {reason}")
        if kind in NEWS:
            getattr(listener, f"on_{kind}")(*values)
        return kind not in NEWS


@contextmanager
def for_workers() -> Iterator[None]:
    """What processes that are started here find: one thread each, and deaf ears for Ctrl-C."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    listening = current_thread() is main_thread()
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN) if listening else None
    try:
        yield
    finally:
        if listening:
            signal.signal(signal.SIGINT, heard)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _give(pipe: Connection, order: Order) -> None:
    try:
        pipe.send(order)
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"this training cannot be sent to another process ({error}); define rewards and "
            "features in a module of their own, or train one seed at a time"
        ) from None
    except OSError:
        return  # it is dead already; the next look at the pipe says so


def _ready(pipes: Iterable[Connection]) -> list[Connection]:
    """Wait until some have something to say, or are closed."""
    listed = list(pipes)
    spoken = wait(listed)
    return [pipe for pipe in listed if pipe in spoken]


def _drain(busy: list[Connection]) -> None:
    """Wait until all have saved; what they say meanwhile is not news any more."""
    while busy:
        for pipe in _ready(busy):
            try:
                ended = pipe.recv()[0] not in NEWS
            except (EOFError, OSError):
                ended = True
            if ended:
                busy.remove(pipe)


class _Reporter(Silent):
    """A worker's listener: sends the news, and stops the run where nobody wants it any more."""

    def __init__(self, pipe: Connection, stop: Event) -> None:
        self._pipe = pipe
        self._stop = stop

    def on_text(self, text: str) -> None:
        """Send it."""
        self._send("text", text)

    def on_progress(self, frames: int, total: int, reward: float | None) -> None:
        """Send it."""
        self._send("progress", frames, total, reward)

    def on_validation(self, frames: int, reward: float, sharpe: float | None, kept: bool) -> None:
        """Send it."""
        self._send("validation", frames, reward, sharpe, kept)

    def _send(self, kind: str, *values: object) -> None:
        try:
            self._pipe.send((kind, values))
        except OSError:
            raise KeyboardInterrupt from None
        if self._stop.is_set():
            raise KeyboardInterrupt


def _work(pipe: Connection, stop: Event) -> None:
    """A worker's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            order = pipe.recv()
            pipe.send(_outcome(order, _Reporter(pipe, stop)))
        except (EOFError, OSError):
            return


def _outcome(order: Order, reporter: _Reporter) -> tuple[str, tuple[str, ...]]:
    try:
        if order.reward is not None:
            register_reward(order.reward.name, order.reward.function)
        plan = seed_checkpoint(order.plan) if order.resume else order.plan
        mark_finished(plan, learn_run(plan, order.scenario, reporter))
    except (Interrupted, KeyboardInterrupt):
        return "stopped", ()
    except MTQuantError as error:
        return "failed", (type(error).__name__, str(error))
    except Exception as error:  # a person reads one sentence, whatever it was
        reason = " ".join(str(error).split())
        return "failed", ("", f"{type(error).__name__}: {reason}")
    return "done", ()

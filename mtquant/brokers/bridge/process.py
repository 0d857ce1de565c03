"""WorkerProcess: starts the process that owns the terminal, asks it with time-outs, and ends it."""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Any, Protocol

from mtquant.brokers.bridge.wire import WireError, dump, load
from mtquant.brokers.bridge.worker import read_frame, write_frame

_END_SECONDS = 2.0


class WorkerLost(Exception):
    """The worker died, or did not answer in time: what it was doing may have happened."""


class WorkerSilent(WorkerLost):
    """It did not answer in time."""


class WorkerRefused(Exception):
    """There is no terminal for the worker to own."""


class Worker(Protocol):
    """Something that answers frames."""

    connected: bool

    def ask(self, frame: bytes, timeout: float) -> bytes:
        """The answer to a frame.

        Raises:
            WorkerLost: It will never come.
        """

    def end(self) -> None:
        """See that it does nothing any more."""


class FrameChannel:
    """Frames to and from a worker; a thread reads, so that waiting can end."""

    def __init__(self, calls: IO[bytes], answers: IO[bytes]) -> None:
        self._calls, self._answers = calls, answers
        self._arrived: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name="bridge-answers", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while (frame := read_frame(self._answers)) is not None:
                self._arrived.put(frame)
        except (OSError, ValueError, WireError):
            pass  # as good as ended
        self._arrived.put(None)

    def ask(self, frame: bytes, timeout: float) -> bytes:
        """The answer to a frame.

        Raises:
            WorkerLost: The other side ended, or (WorkerSilent) did not answer in ``timeout``
                seconds.
        """
        try:
            write_frame(self._calls, frame)
            answer = self._arrived.get(timeout=timeout)
        except queue.Empty:
            raise WorkerSilent(f"the terminal did not answer in {timeout:g} s") from None
        except (OSError, ValueError):
            answer = None
        if answer is None:
            raise WorkerLost("the terminal's process ended")
        return answer

    def begin(self, setup: Mapping[str, Any], timeout: float) -> bool:
        """Send the setup; whether the terminal is connected.

        Raises:
            WorkerRefused: There is no terminal.
            WorkerLost: See :meth:`ask`.
        """
        told = load(self.ask(dump(setup), timeout))
        if "failed" in told:
            raise WorkerRefused(str(told["failed"]))
        return bool(told["connected"])

    def close(self) -> None:
        """Close both directions, once the other side is gone."""
        for stream in (self._calls, self._answers):
            try:
                stream.close()
            except OSError:
                pass  # what was still to be written has no reader
        self._reader.join(_END_SECONDS)


class WorkerProcess:
    """A worker in a process of its own.

    Attributes:
        connected: Whether its terminal was connected at the start.
        pid: Of the process.
    """

    def __init__(self, program: Sequence[str], setup: Mapping[str, Any], timeout: float) -> None:
        """Start it and wait until it owns a terminal.

        Args:
            program: Its command line; no secrets.
            setup: What it is told first, over its stdin; no secrets either.
            timeout: Seconds it may take.

        Raises:
            WorkerRefused: There is no terminal.
            WorkerLost: It ended or did not get ready.
        """
        self._process = subprocess.Popen(
            list(program), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self.pid = self._process.pid
        self._channel = FrameChannel(self._process.stdin, self._process.stdout)
        try:
            self.connected = self._channel.begin(setup, timeout)
        except BaseException:
            self.end()
            raise

    def ask(self, frame: bytes, timeout: float) -> bytes:
        """See :meth:`FrameChannel.ask`."""
        return self._channel.ask(frame, timeout)

    def end(self) -> None:
        """Kill it and wait until it is gone: what replaces it must be alone."""
        self._process.kill()
        self._process.wait()
        self._channel.close()

"""What the processes of one history share: memory that outlives the ones that are killed."""

from __future__ import annotations

import mmap
import struct

_AHEAD, _PID, _ANSWERED, _RETURNED, _IN_TASK, _PORT = 0, 8, 16, 17, 18, 20
_TASK, _TASK_SIZE = 32, 480
_SITE, _SITE_SIZE = 512, 1536
_SIZE = 4096


class Shared:
    """
    A page of memory; a process that forks shares it with its children.

    A reader may find half a text while it is written, so texts are read only while the writer waits for an answer.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SIZE)

    @property
    def seconds(self) -> float:
        """How far the clocks are ahead of the machine's."""
        return float(struct.unpack_from("d", self._memory, _AHEAD)[0])

    @seconds.setter
    def seconds(self, value: float) -> None:
        struct.pack_into("d", self._memory, _AHEAD, value)

    @property
    def pid(self) -> int:
        """The process of the attempt that runs."""
        return int(struct.unpack_from("q", self._memory, _PID)[0])

    @pid.setter
    def pid(self, value: int) -> None:
        struct.pack_into("q", self._memory, _PID, value)

    @property
    def dies_at_answer(self) -> bool:
        """Whether the attempt kills itself as soon as it receives a byte from WATI."""
        return self._memory[_ANSWERED] == 1

    @dies_at_answer.setter
    def dies_at_answer(self, value: bool) -> None:
        self._memory[_ANSWERED] = value

    @property
    def dies_at_return(self) -> bool:
        """Whether the attempt kills itself as soon as a task has returned."""
        return self._memory[_RETURNED] == 1

    @dies_at_return.setter
    def dies_at_return(self, value: bool) -> None:
        self._memory[_RETURNED] = value

    @property
    def is_in_task(self) -> bool:
        """Whether a task executes: it has not returned, and it is no callback or trigger that runs."""
        return self._memory[_IN_TASK] == 1

    @is_in_task.setter
    def is_in_task(self, value: bool) -> None:
        self._memory[_IN_TASK] = value

    @property
    def port(self) -> int:
        """The local port of the socket with which the attempt has called the sandbox last."""
        return int(struct.unpack_from("I", self._memory, _PORT)[0])

    @port.setter
    def port(self, value: int) -> None:
        struct.pack_into("I", self._memory, _PORT, value)

    @property
    def task(self) -> str:
        """The task that runs, and its attempt."""
        return self._read(_TASK, _TASK_SIZE)

    @task.setter
    def task(self, value: str) -> None:
        self._write(_TASK, _TASK_SIZE, value)

    @property
    def site(self) -> str:
        """The line of code that makes the call."""
        return self._read(_SITE, _SITE_SIZE)

    @site.setter
    def site(self, value: str) -> None:
        self._write(_SITE, _SITE_SIZE, value)

    def _read(self, start: int, size: int) -> str:
        return self._memory[start : start + size].rstrip(b"\0").decode("utf-8", "replace")

    def _write(self, start: int, size: int, text: str) -> None:
        self._memory[start : start + size] = text.encode("utf-8", "replace")[:size].ljust(size, b"\0")

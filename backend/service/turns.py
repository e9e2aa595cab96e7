"""Whose turn it is on the device."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from .errors import QueueFull

GUESS_S = 60.0
"""How long a generation takes, in seconds, before the first one has ended."""


class Turns:
    """One request on the device, and at most `waiting` others that wait."""

    def __init__(self, waiting: int) -> None:
        self._waiting = waiting
        self._device = asyncio.Lock()
        self._present = 0
        self._last_s = GUESS_S

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place, on the device or in the queue. Raises QueueFull."""
        if self._present > self._waiting:
            seconds = math.ceil(self._last_s)
            raise QueueFull(
                f"{self._waiting} requests are waiting (MAX_QUEUE): try again in {seconds} s",
                {"Retry-After": str(seconds)},
            )
        self._present += 1
        try:
            yield
        finally:
            self._present -= 1

    @asynccontextmanager
    async def device(self) -> AsyncIterator[None]:
        """Wait for the device and hold it."""
        async with self._device:
            started = time.monotonic()
            yield
            self._last_s = time.monotonic() - started

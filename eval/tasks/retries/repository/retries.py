"""Trying again."""

import time
from collections.abc import Callable


def retry[T](call: Callable[[], T], tries: int = 3, pause: float = 0.0, sleep: Callable[[float], None] = time.sleep):
    """The first result; `pause` seconds between two tries."""
    for _ in range(tries + 1):
        try:
            return call()
        except BaseException:
            sleep(pause)

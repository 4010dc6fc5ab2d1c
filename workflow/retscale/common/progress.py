"""Progress of long work: a bar on a terminal, a few plain lines in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from retscale.common.terminal import say, visible

T = TypeVar("T")

LOG_EVERY_S = 15.0


def progress(items: Iterable[T], label: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
    """Yield from `items`, showing count, rate and time left on stderr.

    `total` is taken from `len(items)` when it has one.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=visible(label), total=total, unit=unit)
        return
    start = last = time.monotonic()
    count = 0
    for count, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= LOG_EVERY_S:
            last = now
            rate = count / (now - start)
            remaining = f", {(total - count) / rate:.0f} s left" if total else ""
            say(f"{label}: {count}/{total or '?'} {unit}, {rate:.1f} {unit}/s{remaining}")
    say(f"{label}: {count} {unit} in {time.monotonic() - start:.1f} s")

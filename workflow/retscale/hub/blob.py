"""A large file on its way into the hub's cache, where what a killed job had of it is gone on with.

The hub's own client starts over: it gives each download a name of its own, because two that append to one file ruin it
on file systems whose locks do nothing. Here two would write the same bytes to the same places.
"""

import hashlib
import os
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers

from retscale.hub.cache import locked, unfinished


@dataclass(frozen=True)
class Blob:
    """The `size` bytes at `url`, which the cache keeps at `path`, named by their sha256; `what` they are in words."""

    what: str
    url: str
    path: Path
    size: int

    def kept(self) -> int:
        """Bytes that an earlier job left; what is longer than the whole is of no use."""
        try:
            found = unfinished(self.path).stat().st_size
        except FileNotFoundError:
            return 0
        return found if found <= self.size else 0

    def fetch(self) -> None:
        """Fetch what is not there yet.

        The hash is looked at only where an earlier job's bytes were gone on with, for then they may be what is wrong and
        all is fetched anew; whoever uses a file looks at it in any case.
        """
        with ExitStack() as held:
            try:
                held.enter_context(locked(self.path, timeout=1))
            except TimeoutError as error:
                self._tell(f"another job fetches it; waiting for its lock {error.lock_file}")
                held.enter_context(locked(self.path))
            if self.path.exists():
                return
            part = unfinished(self.path)
            if start := self.kept():
                self._tell(f"going on after {start:,} of {self.size:,} bytes")
            self._fill(part, start)
            with suppress(FileNotFoundError):  # where locks do nothing, another job has been faster
                if start and _sha256(part) != self.path.name:
                    self._tell("what an earlier job left of it was damaged; fetching it anew")
                    part.unlink()
                    self._fill(part, 0)
                os.replace(part, self.path)

    def _fill(self, part: Path, start: int) -> None:
        """Write the bytes from `start` on to the same place of `part`."""
        part.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(part, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
            file.seek(start)
            headers = build_hf_headers(headers={"Accept-Encoding": "identity"})  # else the range is one of packed bytes
            http_get(
                self.url,
                file,
                resume_size=start,
                headers=headers,
                expected_size=self.size,
                displayed_filename=self.what,
            )
            file.truncate()

    def _tell(self, news: str) -> None:
        print(f"{self.what}: {news}", file=sys.stderr, flush=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

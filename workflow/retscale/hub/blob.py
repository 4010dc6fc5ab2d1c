"""A download into the hub's cache, which resumes what a killed job had of it.

The hub's own client starts over: it gives each download a name of its own, because two that append to one file ruin it
on file systems whose locks do nothing. Here two would write the same bytes to the same places.
"""

import io
import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers

from retscale.common.terminal import say
from retscale.errors import UserError
from retscale.hub.cache import digest, lock_file, locked, unfinished


class Part(io.BufferedRandom):
    """A file that takes `size` bytes and no more, whatever is sent; UserError calls it `label`."""

    def __init__(self, path: Path, size: int, label: str):
        # A symbolic link, which another user of the cache may have put there, is not followed.
        super().__init__(io.FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+"))
        self._size, self._label = size, label

    def write(self, data: bytes) -> int:  # ty: ignore[incompatible-method-override] - bytes are all that it is given
        if self.tell() + len(data) > self._size:
            raise UserError(
                f"{self._label}: the hub sends more than the {self._size:,} bytes that it states; check HF_ENDPOINT"
            )
        return super().write(data)


@dataclass(frozen=True)
class Blob:
    """The `size` bytes at `url`, which the cache keeps at `path`, named by their hash; messages call them `label`."""

    label: str
    url: str
    path: Path
    size: int

    def fetched_bytes(self) -> int:
        """Bytes that an earlier job left; what is longer than the whole is of no use."""
        try:
            size = unfinished(self.path).lstat().st_size
        except FileNotFoundError:
            return 0
        return size if size <= self.size else 0

    def fetch(self) -> None:
        """Fetch what is missing.

        The hash is checked only after resuming from an earlier job's bytes, since these may be wrong and all is then
        fetched again; whoever uses a file checks it in any case.
        """
        with ExitStack() as locks:
            try:
                locks.enter_context(locked(self.path, timeout=1))
            except TimeoutError:
                self._say(f"another job is fetching it; waiting for its lock {lock_file(self.path)}")
                locks.enter_context(locked(self.path))
            if self.path.is_file():
                return
            part = unfinished(self.path)
            if start := self.fetched_bytes():
                self._say(f"resuming after {start:,} of {self.size:,} bytes")
            self._fill(part, start)
            with suppress(FileNotFoundError):  # where locks do nothing, another job may have been faster
                if start and not self._intact(part):
                    self._say("what an earlier job left of it was damaged; fetching it again")
                    part.unlink()
                    self._fill(part, 0)
                os.replace(part, self.path)

    def _fill(self, part: Path, start: int) -> None:
        """Write the bytes from `start` on to the same place of `part`."""
        part.parent.mkdir(parents=True, exist_ok=True)
        with Part(part, self.size, self.label) as file:
            file.seek(start)
            http_get(
                self.url,
                file,
                resume_size=start,
                headers=build_hf_headers(),
                expected_size=self.size,
                displayed_filename=self.label,
            )
            file.truncate()

    def _intact(self, part: Path) -> bool:
        with part.open("rb") as file:
            return digest(file, self.path.name)[1]

    def _say(self, message: str) -> None:
        say(f"{self.label}: {message}")

"""How the hub is queried: one retry policy for every request, one line per retry, no secret in any line."""

import email.utils
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

import httpx2
from huggingface_hub import constants, set_client_factory
from huggingface_hub.utils import disable_progress_bars, logging
from huggingface_hub.utils._http import hf_request_event_hook  # private; it is what refuses to send when offline

from retscale.common import progress
from retscale.common.terminal import say
from retscale.errors import UserError

RETRIED = {408, 429, 500, 502, 503, 504}
LOST_CONNECTION = (httpx2.ReadError, httpx2.ReadTimeout, httpx2.RemoteProtocolError)
FIRST_WAIT_S, LONGEST_WAIT_S, PATIENCE_S = 1, 60, 900  # the hub counts requests in windows of 300 s
TRIES = 8
LONGEST_ANSWER = 2**26  # bytes; a listing takes about 300 a file, and up to 20 times its size to read
SILENCE_S = 30  # a firewall may swallow what is sent, and most calls of the hub's client set no limit


@cache
def prepare() -> None:
    """Let huggingface_hub send with `Client`, over plain HTTP.

    Xet, the hub's other protocol, has retries and connections of its own, out of reach of this policy and of any test
    without a storage service; plain HTTP reaches the same bytes (files up to 50 GB). The hub's own warnings are off:
    they print addresses, of which those of its file servers are signed. So is what it would say of this machine.
    """
    constants.HF_HUB_DISABLE_XET = True
    constants.HF_HUB_DISABLE_TELEMETRY = True
    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        disable_progress_bars()
    hooks = {"request": [hf_request_event_hook], "response": [limit_answer]}
    set_client_factory(lambda: Client(event_hooks=hooks, follow_redirects=True, timeout=None))


class Client(httpx2.Client):
    """Retries, with longer and longer waits, what the server could not answer; raises UserError when it gives up.

    Without a connection it fails at once, so that a machine without network soon turns to the cache.
    """

    def send(self, request: httpx2.Request, *, stream: bool = False, **options) -> httpx2.Response:
        limits = request.extensions.get("timeout") or {}
        request.extensions["timeout"] = {
            part: limits.get(part) or SILENCE_S for part in ("connect", "read", "write", "pool")
        }
        request.extensions["file"] = stream  # only files come in a stream
        request.headers["Accept-Encoding"] = "identity"  # a range is one of packed bytes otherwise; see `limit_answer`
        label, waited, attempt = f"the hub: {request.method} {request.url.path}", 0.0, 0
        while True:
            attempt += 1
            wait = float(min(FIRST_WAIT_S * 2 ** (attempt - 1), LONGEST_WAIT_S))
            try:
                response = super().send(request, stream=stream, **options)
            except LOST_CONNECTION as error:
                reason = f"the connection was lost ({type(error).__name__})"
            else:
                if response.status_code not in RETRIED:
                    response.stream = Body(response.stream, label)
                    return response
                response.close()
                reason = f"HTTP {response.status_code}"
                wait = max(wait, requested_wait(response.headers, time.time()) or 0.0)
            if attempt == TRIES or waited + wait > PATIENCE_S:
                later = f" and asks to wait {wait:.0f} s" if wait > LONGEST_WAIT_S else ""
                raise UserError(
                    f"{label}: {reason}{later}; gave up after {attempt} {'tries' if attempt > 1 else 'try'}; run "
                    "this job again later, or with HF_HUB_OFFLINE=1 if the cache has it all"
                )
            say(f"{label}: {reason}; retry {attempt} in {wait:.0f} s")
            time.sleep(wait)
            waited += wait


def limit_answer(response: httpx2.Response) -> None:
    """Let no answer, be it a listing, a refusal or a redirection, fill the memory: only a file has a size to go by.

    Packed bytes are refused, of which a few may stand for any number.
    """
    if (encoding := response.headers.get("content-encoding", "identity")) != "identity":
        raise UserError(
            f"the hub sent a compressed answer ({encoding[:20]!r}), although none was accepted; check HF_ENDPOINT and the proxy"
        )
    if response.status_code not in (200, 206) or not response.request.extensions["file"]:
        response.stream = Bounded(response.stream)


class Bounded(httpx2.SyncByteStream):
    """The bytes of an answer, up to LONGEST_ANSWER of them and for PATIENCE_S."""

    def __init__(self, stream: httpx2.SyncByteStream):
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        count, start = 0, time.monotonic()
        for chunk in self._stream:
            count += len(chunk)
            if count > LONGEST_ANSWER or time.monotonic() - start > PATIENCE_S:
                raise UserError(f"the hub: an answer did not end within {count:,} bytes; check HF_ENDPOINT")
            yield chunk

    def close(self) -> None:
        self._stream.close()


class Meter:
    """Logs now and then how many of the wanted bytes have arrived; on a terminal the hub's own bars do."""

    def __init__(self, label: str, total: int):
        self.label, self.total, self.received = label, total, 0
        self.start = self.last_logged = time.monotonic()
        self.lock = threading.Lock()

    def add(self, count: int) -> None:
        with self.lock:
            self.received, now = self.received + count, time.monotonic()
            if now - self.last_logged >= progress.LOG_EVERY_S and not sys.stderr.isatty():
                self.last_logged, rate = now, self.received / (now - self.start)
                amount = f"{self.received / 1e9:.2f} of {self.total / 1e9:.2f} GB, {rate / 1e6:.1f} MB/s"
                say(f"{self.label}: {amount}, {max(0, self.total - self.received) / rate:.0f} s left")


_meters: list[Meter] = []


@contextmanager
def metered(label: str, total: int) -> Iterator[None]:
    """Count the bytes of all answers within."""
    _meters.append(Meter(label, total))
    try:
        yield
    finally:
        _meters.pop()


class Body(httpx2.SyncByteStream):
    """The bytes of an answer. A lost connection is logged, and raised as the one error after which the hub's client
    resumes, from the byte that it had reached."""

    def __init__(self, stream: httpx2.SyncByteStream, label: str):
        self._stream, self._label = stream, label

    def __iter__(self) -> Iterator[bytes]:
        count = 0
        try:
            for chunk in self._stream:
                yield chunk
                count += len(chunk)
                for meter in _meters:
                    meter.add(len(chunk))
        except LOST_CONNECTION as error:
            reason = f"the connection was lost ({type(error).__name__}) after {count:,} bytes"
            say(f"{self._label}: {reason}; resuming")
            raise httpx2.RemoteProtocolError(reason) from None

    def close(self) -> None:
        self._stream.close()


def requested_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that an answer asks to wait, by Retry-After (seconds or a date) or the hub's RateLimit; None if it does
    not. `now` is in seconds since the epoch."""
    text = headers.get("retry-after", "").strip()
    if text.isdigit():
        return float(text)
    if date := email.utils.parsedate_tz(text):
        return max(0.0, email.utils.mktime_tz(date) - now)
    remaining = re.search(r"\bt\s*=\s*(\d+)", headers.get("ratelimit", ""))
    return float(remaining[1]) if remaining else None

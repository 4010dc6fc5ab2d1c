"""No network for the stages that compute: an unpinned download would be missing from every record."""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

VARIABLES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")  # of the hub, which no library and no child needs where there is no hub
_stages: list[str] = []  # that are at work offline in this process


@contextmanager
def offline(stage: str) -> Iterator[None]:
    """A context in which the hub's libraries use the cache only, and no socket of this process reaches the internet.

    To Python code it looks like a machine without network. The processes of a distributed training do not speak through
    sockets of Python, so they still find each other.
    """
    saved = {name: os.environ.pop(name, None) for name in (*VARIABLES, *TOKENS)}
    os.environ.update(dict.fromkeys(VARIABLES, "1"))
    _watch()
    _stages.append(stage)
    try:
        yield
    finally:
        _stages.remove(stage)
        for name in VARIABLES:
            del os.environ[name]
        os.environ.update({name: value for name, value in saved.items() if value is not None})


@cache  # once per process: a hook cannot be removed
def _watch() -> None:
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple) -> None:
    if event == "socket.connect" and _stages and arguments[0].family in (socket.AF_INET, socket.AF_INET6):
        raise ConnectionRefusedError(
            errno.ECONNREFUSED, f"retscale {_stages[-1]} works offline and may not connect to {arguments[1]}"
        )

"""System calls that Python has no function for."""

import ctypes
import os


def call(function: str, *arguments) -> None:
    """A function of the C library that returns 0; OSError otherwise."""
    arguments = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    if getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments):
        raise OSError(ctypes.get_errno(), f"{function}: {os.strerror(ctypes.get_errno())}")

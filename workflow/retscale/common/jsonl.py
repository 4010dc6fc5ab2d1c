"""JSON files from outside, by lines (plain or gzipped) or whole: bounded memory, and every error names its line."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from retscale.common.regular import require_regular
from retscale.errors import UserError

# Bytes. A longer line is no document but a file without line ends, or made to fill the memory: JSON takes up to 30
# times its size as Python's objects.
LINE = 2**24
# Lines in a row; a billion of them are one megabyte of gzip.
BLANK = 10_000
WHOLE = 2**28  # bytes of a file that is one object; the record of a study's tables has 300 for each of its results


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of `path` that are not blank, numbered from 1; a file called .gz is decompressed.

    Ends of lines may be those of Windows, and the file may begin with a byte-order mark. UserError for a line that is
    not UTF-8 or longer than LINE, for more than BLANK blank ones in a row, and if the file cannot be read to its end.
    """
    require_regular(path)
    number = last_filled = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while line := file.readline(LINE + 1):
                number += 1
                if len(line) > LINE:
                    raise UserError(
                        f"{path}, line {number}: longer than {LINE} bytes; does it use other line ends, or is it one "
                        "JSON array? It must have one row per line"
                    )
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                if text.strip():
                    last_filled = number
                    yield number, text.rstrip("\r\n")
                elif number - last_filled > BLANK:
                    raise UserError(f"{path}, line {number}: more than {BLANK:,} blank lines in a row; is it whole?")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}, line {number}: not UTF-8, byte {error.object[error.start]:#04x} at {error.start}; convert it, "
            "for example by `iconv -f latin1 -t utf-8`"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {path} beyond line {number}: {error}; is it complete?") from None


def objects(path: Path) -> Iterator[tuple[int, dict]]:
    """The JSON object in each of the `lines`, with the line's number; UserError for a line that holds none."""
    for number, line in lines(path):
        try:
            row = json.loads(line)
            if "\\ud" in line or "\\uD" in line:  # half of a surrogate pair is not text
                json.dumps(row, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: not an object but a {type(row).__name__}")
        yield number, row


def content(path: Path) -> bytes:
    """All bytes of a file; UserError if it cannot be read, or is larger than WHOLE."""
    require_regular(path)
    try:
        if (size := path.stat().st_size) > WHOLE:
            raise UserError(f"cannot read {path}: {size:,} bytes, more than {WHOLE:,}")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def whole(path: Path) -> dict:
    """The JSON object that is all of a file; UserError if there is none, or it is larger than WHOLE."""
    try:
        value = json.loads(content(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no JSON object")
    return value

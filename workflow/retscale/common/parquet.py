"""Parquet files from outside: bounded memory whatever they hold, and every error is one line.

A short file can stand for any number of rows and bytes: pages are compressed, runs of equal values are counted, and a
dictionary gives one long text to every row. So the footer is judged before anything is unfolded, and a batch has few
rows where the values that they may repeat are large.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from retscale.common.regular import require_regular
from retscale.errors import UserError

# What a file may unfold to: bytes in any case, and times its size. Texts pack to a tenth, a column of zeros to nothing.
SMALL, RATIO = 2**28, 1000
BYTES_A_VALUE = 8  # that a value counts for at least, however many of its kind share a byte of the file
DICTIONARY = 2**24  # bytes of distinct values; writers stop at 1 MB and one value
BATCH, ROWS = 2**28, 2**16  # bytes that a batch of repeated values may take, for each column; rows in any case

Kind = Literal["text", "number", "texts", "numbers"]


def batches(path: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of `path`, all columns or those named.

    UserError if the file is not whole, lacks a column, or unfolds to far more than its size.
    """
    rows, total, limit = rows_at_a_time(path), 0, _byte_limit(path)
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if missing := [name for name in columns or () if name not in names]:
                raise UserError(f"{path} has no {', '.join(missing)}; it has {', '.join(names) or 'no column'}")
            for encoded in file.iter_batches(rows, columns=columns):
                batch = _plain(encoded)
                total += batch.nbytes
                if total > limit:
                    raise _bomb(path, total)
                yield batch
    except _BROKEN as error:
        raise _unreadable(path, error) from None


def read(path: Path, columns: dict[str, Kind] | None = None) -> pd.DataFrame:
    """The table of `path`: the columns named, each of its kind and, numbers apart, without gaps; or else all of them.

    UserError as `batches`, and for a column of another kind.
    """
    parts = list(batches(path, columns and list(columns)))
    try:
        with pq.ParquetFile(path) as file:
            table = pa.Table.from_batches(parts or [_plain(pa.RecordBatch.from_pylist([], file.schema_arrow))])
            table = table.select(list(columns or table.column_names))
            table = table.replace_schema_metadata(file.schema_arrow.metadata)
        for name, kind in (columns or {}).items():
            if table.num_rows and not _is(kind, table[name].type):  # of a table without rows pandas writes no kinds
                raise UserError(f"{path}: {name} holds {table[name].type}, not {kind}")
            if kind != "number" and table[name].null_count:
                raise UserError(f"{path}: {name} is empty in {table[name].null_count:,} of {table.num_rows:,} rows")
        table.validate(full=True)  # texts are UTF-8
        return table.to_pandas()
    except (*_BROKEN, LookupError, TypeError, AttributeError) as error:  # the last three: of its metadata for pandas
        raise _unreadable(path, error) from None


def rows_at_a_time(path: Path) -> int:
    """How many rows a batch may have; UserError if by its own word the file unfolds to far more than its size."""
    require_regular(path)
    try:
        with pq.ParquetFile(path) as file, path.open("rb") as raw:
            footer = file.metadata
            groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
            chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
            values = max(footer.num_rows, sum(chunk.num_values for chunk in chunks))
            stated = sum(chunk.total_uncompressed_size for chunk in chunks) + BYTES_A_VALUE * values
            largest = max((_dictionary(raw, chunk) for chunk in chunks), default=0)
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except _BROKEN as error:
        raise _unreadable(path, error) from None
    if stated > _byte_limit(path):
        raise _bomb(path, stated)
    if largest > DICTIONARY:
        raise UserError(f"{path}: a dictionary of {largest:,} bytes, more than {DICTIONARY:,}; write the file without")
    return max(1, min(ROWS, BATCH // max(largest, 1)))


_BROKEN = (OSError, ValueError, OverflowError, MemoryError, pa.ArrowException)


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its texts written out, where they are numbers of those in a dictionary."""
    columns = [column.dictionary_decode() if types.is_dictionary(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def _unreadable(path: Path, error: BaseException) -> UserError:
    return UserError(f"cannot read {path}: {error}; is it a whole parquet file?")


def _byte_limit(path: Path) -> int:
    return max(SMALL, RATIO * path.stat().st_size)


def _bomb(path: Path, size: int) -> UserError:
    return UserError(
        f"{path} has {path.stat().st_size:,} bytes and unfolds to {size:,} or more, over {RATIO:,} times as many; was "
        "it made to fill the memory?"
    )


def _is(kind: Kind, type: pa.DataType) -> bool:
    if kind.endswith("s"):
        return (types.is_list(type) or types.is_large_list(type)) and _is(kind[:-1], type.value_type)
    if kind == "text":
        return types.is_string(type) or types.is_large_string(type)
    return types.is_integer(type) or types.is_floating(type)


def _dictionary(raw: BinaryIO, chunk: pq.ColumnChunkMetaData) -> int:
    """Bytes of the distinct values of a column chunk, by the header of its first page; 0 if that is no dictionary.

    The header begins with three integers in Thrift's compact form, which are the page's kind and its size, unpacked and
    packed; 2 is the kind of a dictionary.
    """
    raw.seek(min((offset for offset in (chunk.dictionary_page_offset, chunk.data_page_offset) if offset), default=0))
    header = raw.read(16)
    if header[:3] != b"\x15\x04\x15":
        return 0
    size = 0
    for index, byte in enumerate(header[3:]):
        size |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            break
    return size >> 1

"""Tables on disk: parquet (and CSV) files named and hashed by one primary JSON beside them."""

from pathlib import Path
from typing import ClassVar

import pandas as pd

from retscale.common import parquet
from retscale.common.artifact import Artifact
from retscale.common.files import sha256
from retscale.errors import UserError


class Summary(Artifact):
    """What a primary JSON says besides the sha256 of its tables, `files`."""

    sort_keys: ClassVar[bool] = True
    ensure_ascii: ClassVar[bool] = True

    files: dict[str, str]


def write_tables(
    primary: Path, model: type[Summary], tables: dict[str, pd.DataFrame], summary: dict, csv: bool = False
) -> None:
    """Write each table as `<name>.parquet` (and `.csv`) beside `primary`, then this with the summary and their hashes."""
    files, out = {}, primary.parent
    for name, table in sorted(tables.items()):
        table.to_parquet(out / f"{name}.parquet", index=False)
        if csv:
            table.to_csv(out / f"{name}.csv", index=False, lineterminator="\n")
        for path in sorted(out.glob(f"{name}.*")):
            files[path.name] = sha256(path)
    model.write(primary, summary | {"files": files})


def read_table(primary: Path, name: str) -> pd.DataFrame:
    """The table `name` beside a primary JSON."""
    return parquet.read(table_path(primary, name))


def table_path(primary: Path, name: str) -> Path:
    """Its file, refused when its bytes are not those that the JSON names."""
    path = primary.parent / f"{name}.parquet"
    files = Summary.read(primary).files
    if not path.is_file() or sha256(path) != files.get(path.name):
        raise UserError(f"{path} is not the table that {primary} names; delete {primary} and run again")
    return path

"""Tables on disk: parquet (and CSV) files named and hashed by one primary JSON beside them."""

import json
from pathlib import Path

import pandas as pd

from retscale.common import jsonl, parquet
from retscale.common.files import sha256
from retscale.errors import UserError


def read_json(path: Path) -> dict:
    """The object in a JSON file; a UserError names the file when there is none."""
    try:
        return jsonl.whole(path)
    except UserError as error:
        raise UserError(f"{error}; delete it and run again") from None


def write_tables(out: Path, primary: str, tables: dict[str, pd.DataFrame], summary: dict, csv: bool = False) -> None:
    """Write each table as `<name>.parquet` (and `.csv`), then `primary` with the summary and the files' hashes."""
    files = {}
    for name, table in sorted(tables.items()):
        table.to_parquet(out / f"{name}.parquet", index=False)
        if csv:
            table.to_csv(out / f"{name}.csv", index=False, lineterminator="\n")
        for path in sorted(out.glob(f"{name}.*")):
            files[path.name] = sha256(path)
    text = json.dumps(summary | {"files": files}, indent=1, sort_keys=True, allow_nan=False)
    (out / primary).write_text(text + "\n", encoding="utf-8")


def read_table(primary: Path, name: str) -> pd.DataFrame:
    """The table `name` beside a primary JSON, refused when its bytes are not those that the JSON names."""
    path = primary.parent / f"{name}.parquet"
    files = read_json(primary).get("files")
    if not isinstance(files, dict) or not path.is_file() or sha256(path) != files.get(path.name):
        raise UserError(f"{path} is not the table that {primary} names; delete {primary} and run again")
    return parquet.read(path)

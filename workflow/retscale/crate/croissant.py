"""The tables of a study in Croissant, the format in which data sets for machine learning describe themselves."""

from collections import Counter
from pathlib import Path

import mlcroissant as mlc
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

MEDIA_TYPE = "application/x-parquet"  # as mlcroissant knows it


def description(tables: dict[str, str], folder: Path, about: dict[str, str]) -> dict:
    """The JSON-LD of the parquet files `tables`, their paths in `folder` with their sha256: a record set for each.

    It has the name of its table; of tables of one name in two folders, such as `lengths`, also that of the folder.
    `about` has the name of the data set, its description and the day of its publication (datePublished).
    """
    stems = Counter(Path(path).stem for path in tables)
    names = {
        path: "-".join(Path(path).with_suffix("").parts[-2 if stems[Path(path).stem] > 1 else -1 :]) for path in tables
    }
    return mlc.Metadata(
        name=about["name"],
        description=about["description"],
        license=["unknown"],
        date_published=about["datePublished"],
        distribution=[
            mlc.FileObject(
                id=path, name=Path(path).name, content_url=path, encoding_formats=[MEDIA_TYPE], sha256=sha256
            )
            for path, sha256 in tables.items()
        ],
        record_sets=[_record_set(name, path, pq.read_schema(folder / path)) for path, name in names.items()],
    ).to_json()


def _record_set(name: str, path: str, schema: pa.Schema) -> mlc.RecordSet:
    return mlc.RecordSet(
        id=name,
        name=name,
        fields=[
            mlc.Field(
                id=f"{name}/{column.name}",
                name=column.name,
                data_types=[_data_type(column.type)],
                source=mlc.Source(file_object=path, extract=mlc.Extract(column=column.name)),
            )
            for column in schema
        ],
    )


def _data_type(type: pa.DataType) -> str:
    """Text for a column without a value, too."""
    if types.is_boolean(type):
        return mlc.DataType.BOOL
    if types.is_integer(type):
        return mlc.DataType.INTEGER
    return mlc.DataType.FLOAT if types.is_floating(type) else mlc.DataType.TEXT

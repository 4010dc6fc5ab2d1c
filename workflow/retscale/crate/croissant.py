"""The tables of a study in Croissant, the format in which data sets for machine learning describe themselves."""

from pathlib import Path

import mlcroissant as mlc
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

MEDIA_TYPE = "application/x-parquet"  # as mlcroissant knows it


def description(tables: dict[str, str], folder: Path, about: dict[str, str]) -> dict:
    """The JSON-LD of the parquet files `tables`, their paths in `folder` with their sha256: a record set for each.

    `about` has the name of the data set, its description and the day of its publication (datePublished).
    """
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
        record_sets=[_record_set(path, pq.read_schema(folder / path)) for path in tables],
    ).to_json()


def _record_set(path: str, schema: pa.Schema) -> mlc.RecordSet:
    name = Path(path).stem
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

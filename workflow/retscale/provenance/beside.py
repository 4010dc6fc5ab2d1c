"""Where a record lies, for stages that must pass over it."""

from pathlib import Path


def path_of(primary: Path) -> Path:
    """The place of the record of the output `primary`."""
    return primary.with_name(f"{primary.stem}.record.json")

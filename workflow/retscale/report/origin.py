"""What the report was made from: its inputs, their roots, and the versions of the code behind them."""

from collections.abc import Mapping
from pathlib import Path

from retscale.common.files import sha256
from retscale.provenance import behind
from retscale.report.results import paths_of


def named(inputs: Mapping) -> list[tuple[str, Path]]:
    """Every input file with its name, in the order of both."""
    return [(name, path) for name in sorted(inputs) for path in sorted(paths_of(inputs, name))]


def listed(inputs: Mapping) -> list[dict]:
    """Each input with its sha256, and the digest of its record, `root`; None without a record."""
    return [
        {"name": name, "file": f"{path.parent.name}/{path.name}", "sha256": sha256(path), "root": behind.root(path)}
        for name, path in named(inputs)
    ]


def mixed(inputs: Mapping) -> dict[str, list[dict]]:
    """The stages whose results were made by more than one version of the code, with these versions."""
    versions = behind.code(path for _, path in named(inputs))
    return {stage: each for stage, each in versions.items() if len(each) > 1}

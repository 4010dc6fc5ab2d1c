"""The stage `evaluate` holds a shard of vectors, not the corpus."""

import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "memory.py"


def test_memory_grows_by_ids_and_not_by_vectors():
    """By 300 bytes a document for its id; its vector alone would take 1,024."""
    benchmark = runpy.run_path(str(BENCHMARK))
    few, many = (benchmark["alone"](documents, 4096)["peak"] for documents in (20_000, 80_000))
    assert (many - few) * 2**20 / 60_000 < 600

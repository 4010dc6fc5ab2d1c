"""`retscale audit` does again what it can: rankings are scored, evaluations and other jobs run from their inputs."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from retscale.common.files import sha256

STUDY = "config/smoke.yaml"


def audit(clone, status: int, *options: str) -> list[str]:
    return clone.run("retscale", "audit", STUDY, *options, status=status).stdout.splitlines()


def rewrite(path: Path, data: bytes, *records: Path) -> None:
    """Replace a file, not its other names, and its sha256 in these records."""
    before = sha256(path)
    path.unlink()
    path.write_bytes(data)
    for file in records:
        text = file.read_text()
        assert before in text
        file.write_text(text.replace(before, sha256(path)))


def test_what_is_right_is_made_again(smoke):
    lines = audit(smoke, 0, "--spot-check", "1", "--replay", "report", "--seed", "0")
    assert lines[0].startswith("rescored  22 rankings of 2 tasks and 11,484 queries scored again in ")
    assert lines[0].endswith(": equal")
    assert lines[1].startswith("spot      1 of 22 evaluations, --seed 0; ")
    assert lines[2].split()[0] == "evaluate" and lines[2].endswith(" s  equal")
    assert lines[3] == "replay    1 of 84 jobs, --seed 0; the bits must be equal"
    assert lines[4].split()[0] == "report" and lines[4].endswith(" s  equal")
    assert lines[-1].startswith("verdict   verified")


def test_a_forged_score_a_forged_ranking_and_a_changed_weight_are_named(finished):
    """Each with the sha256 of what was forged in its own record."""
    results = finished.folder / "results/smoke"
    score = results / "evaluate/d16/own-mini/fiqa.json"
    forged = json.loads(score.read_text())
    mean = forged["metrics"]["ndcg_at_10"]
    forged["metrics"]["ndcg_at_10"] = 0.5
    rewrite(score, json.dumps(forged).encode(), score.with_name("fiqa.record.json"))

    ranking = results / "evaluate/d24/own-mini/fiqa.parquet"
    table = pd.read_parquet(ranking)
    table["doc_ids"] = [ids[::-1] for ids in table["doc_ids"]]
    table.to_parquet(finished.folder / "forged.parquet", index=False)
    rewrite(ranking, (finished.folder / "forged.parquet").read_bytes(), ranking.with_name("fiqa.record.json"))

    # The evaluation is the one that the seed draws; the forger lets all that names the weights name the new ones.
    weights = results / "finetune/d24-long/own-mini/model.safetensors"
    evaluation = results / "evaluate/d24-long/own-mini/fiqa.record.json"
    card, records = weights.with_name("encoder.json"), (weights.with_name("encoder.record.json"), evaluation)
    data, before = bytearray(weights.read_bytes()), sha256(weights)
    numbers = np.frombuffer(data, np.float32, offset=len(data) - 4 * 4096)
    numbers += np.float32(0.5)
    rewrite(weights, bytes(data), *records)
    rewrite(card, card.read_bytes().replace(before.encode(), sha256(weights).encode()), *records)

    lines = audit(finished, 1, "--spot-check", "1", "--seed", "27")
    assert lines[0].endswith(": 2 DIFFER")
    assert "evaluate   d24-long/own-mini/fiqa " in lines[2] and " DIFFERS: fiqa.parquet: row " in lines[2]
    problems = "\n".join(lines)
    assert (
        f"fiqa.json: is not what the ranking beside it scores: metrics.ndcg_at_10 is 0.5, made again {mean!r}"
        in problems
    )
    assert "PROBLEM   results/smoke/evaluate/d24/own-mini/fiqa.parquet: " in problems
    assert "PROBLEM   results/smoke/evaluate/d24-long/own-mini/fiqa.record.json: " in problems
    assert "is not what its job makes, run again: fiqa.parquet: row " in problems


def test_a_replay_takes_nothing_from_what_was_stored_before(finished):
    """Tokens are shared by those who need the same: here the store holds others, which a job would link to."""
    for card in (finished.folder / ".state/tokens").glob("*/json"):
        for name, _ in (content := json.loads(card.read_text()))["files"].items():
            path = card.with_name(name)
            data = path.read_bytes()
            path.unlink()
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
            content["files"][name] = sha256(path)
        os.unlink(card)
        card.write_text(json.dumps(content))
    lines = audit(finished, 0, "--replay", "tokens", "--seed", "1")
    assert "          tokens     " in lines[1] and lines[1].endswith(" s  equal")

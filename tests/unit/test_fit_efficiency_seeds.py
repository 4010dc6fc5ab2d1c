"""Data efficiency over seeds: simulated studies with known noise, and what a join may and may not change."""

import numpy as np
import pandas as pd
import pytest

from retscale.collect.repeats import Repeat, Repeats
from retscale.fit.config import Spec
from retscale.fit.detectable import BOTH, QUERIES
from retscale.fit.efficiency import COLUMNS, TOO_FAR, area, curve, needed, over_seeds
from retscale.fit.points import KEY
from retscale.fit.seeds import joined_curves

X = np.array([100.0, 400.0, 1600.0])
CURVE = np.array([0.20, 0.32, 0.36])  # whose scores pass 95% of the last between the second point and the third
SPEC = Spec(bootstrap=200)
NONE = Repeats()
THREE = Repeats(recipes={f"r.seed-{seed}": Repeat(of="r", seed=seed) for seed in (2, 3)})
QUERY_SD = 0.004


def studied(
    rng: np.random.Generator, seed_sd: float, checkpoints: int = 8, repeated: int = 2, replicates: int = 200
) -> tuple[pd.DataFrame, dict]:
    """Rows and curves of trainings, `repeated` checkpoints with three; queries move all steps of a training alike."""
    rows, drawn = [], {}
    for number in range(checkpoints):
        for recipe in ["r", *(THREE.recipes if number < repeated else [])]:
            y = CURVE + seed_sd * rng.normal(size=3) + QUERY_SD * rng.normal()
            draws = y + QUERY_SD * rng.normal(size=(replicates, 1))
            key = {"checkpoint": f"c{number}", "recipe": recipe, "task": "t"}
            rows.append(key | curve(X, y, draws, SPEC.alpha))
            drawn[tuple(key.values())] = X, draws
    return pd.DataFrame(rows, columns=COLUMNS), drawn


def covered(studies: int, seed_sd: float, repeats: Repeats = THREE, **options: int) -> dict[str, float]:
    """The share of intervals that hold the expected area, and the expected logarithm of the pairs, of a training."""
    rng, noisy = np.random.default_rng(7), CURVE + seed_sd * np.random.default_rng(0).normal(size=(20_000, 3))
    truth = {"area": area(X, noisy).mean(), "needed": 10 ** np.log10(needed(X, noisy)).mean()}
    hits = {name: [] for name in truth}
    for _ in range(studies):
        rows, drawn = studied(rng, seed_sd, **options)
        table = over_seeds(rows, drawn, repeats, SPEC)
        for name, value in truth.items():
            hits[name] += list((table[f"{name}_low"] <= value) & (value <= table[f"{name}_high"]))
    return {name: float(np.mean(of)) for name, of in hits.items()}


def test_intervals_hold_the_truth_where_seeds_make_most_of_the_noise():
    known, alone = (covered(12, 0.012, repeats, checkpoints=6) for repeats in (THREE, NONE))
    assert all(0.88 <= share <= 0.99 for share in known.values()), known
    assert all(share < 0.75 for share in alone.values()), alone


@pytest.mark.long
@pytest.mark.parametrize("seed_sd", [0.002, 0.004, 0.008, 0.016])
def test_so_they_do_in_many_studies(seed_sd):
    assert all(0.91 <= share <= 0.99 for share in covered(400, seed_sd).values())


def test_a_row_is_the_mean_of_its_trainings_and_its_interval_knows_the_noise_of_its_recipe():
    rows, drawn = studied(np.random.default_rng(1), 0.01)
    table = over_seeds(rows, drawn, THREE, SPEC)
    assert list(table) == COLUMNS and len(table) == 8 and set(table["recipe"]) == {"r"}
    assert list(table["seeds"]) == [3, 3, *[1] * 6]
    own = rows[rows["checkpoint"] == "c0"]
    first = table.iloc[0]
    for name in ("area", "y_first", "y_last"):
        assert first[name] == pytest.approx(own[name].mean())
    assert np.log10(first["needed"]) == pytest.approx(np.log10(own["needed"].astype(float)).mean())
    assert {*table["area_knows"], *table["needed_knows"]} == {BOTH}
    single = rows[rows["recipe"] == "r"].set_index("checkpoint").loc["c5"]
    last = table.set_index("checkpoint").loc["c5"]
    assert (last["area"], last["needed"]) == (single["area"], single["needed"])
    for low, high in (("area_low", "area_high"), ("needed_low", "needed_high")):
        assert last[high] - last[low] > 1.3 * (single[high] - single[low])


def test_pairs_needed_stay_within_the_curve_and_a_replicate_without_them_is_passed_over():
    rows, drawn = studied(np.random.default_rng(9), 0.02)
    table = over_seeds(rows, drawn, THREE, SPEC)
    assert (table["needed_low"] >= X[0]).all() and np.isclose(table["needed_high"], X[-1]).any()
    drawn["c0", "r", "t"][1][0] = 0
    again = over_seeds(rows, drawn, THREE, SPEC)
    assert list(again["needed_low"]) == pytest.approx(list(table["needed_low"]), rel=0.02)


def test_one_training_of_each_keeps_its_row_and_another_recipe_its_interval():
    rows, drawn = studied(np.random.default_rng(2), 0.01)
    shown = [name for name in COLUMNS if name not in ("seeds", "area_knows", "needed_knows")]
    plain = over_seeds(rows, drawn, NONE, SPEC)
    pd.testing.assert_frame_equal(plain[shown], rows[shown], check_exact=True)
    assert {*plain["area_knows"], *plain["needed_knows"]} == {QUERIES} and set(plain["seeds"]) == {1}
    other = rows[rows["recipe"] == "r"].assign(recipe="other")
    both = {**drawn, **{(key[0], "other", key[2]): one for key, one in drawn.items() if key[1] == "r"}}
    joined = over_seeds(pd.concat([other, rows], ignore_index=True), both, THREE, SPEC)
    kept = joined[joined["recipe"] == "other"]
    pd.testing.assert_frame_equal(kept[shown], other[shown].reset_index(drop=True), check_exact=True)
    assert set(kept["area_knows"]) == {QUERIES}


def test_pairs_between_encoders_far_apart_are_missing_for_that_reason():
    rows, drawn = studied(np.random.default_rng(8), 0.0)
    far = np.array([100.0, 400.0, 4000.0])
    for key in drawn:
        drawn[key] = far, drawn[key][1]
    rows = [
        dict(zip(KEY, key, strict=True)) | curve(*one, 0.05)
        for key, one in ((key, (far, CURVE, draws)) for key, (_, draws) in drawn.items())
    ]
    table = over_seeds(pd.DataFrame(rows, columns=COLUMNS), drawn, THREE, SPEC)
    assert set(table["reason"]) == {TOO_FAR} and table[["needed", "needed_low", "needed_high"]].isna().all(axis=None)
    assert table["area_low"].notna().all()


def test_the_order_of_trainings_changes_nothing():
    rows, drawn = studied(np.random.default_rng(3), 0.01)
    table = over_seeds(rows, drawn, THREE, SPEC)
    order = np.random.default_rng(4).permutation(len(rows))
    again = over_seeds(rows.iloc[order].reset_index(drop=True), dict(reversed(drawn.items())), THREE, SPEC)
    again = again.sort_values(KEY, ignore_index=True)
    pd.testing.assert_frame_equal(table, again, rtol=1e-12, atol=0)


def test_a_pretraining_counts_once_however_often_it_was_fine_tuned():
    of = Repeats(checkpoints={"c0.seed-2": Repeat(of="c0", seed=2)}, recipes={"r.seed-2": Repeat(of="r", seed=2)})
    rng, trainings = np.random.default_rng(5), [("c0", "r"), ("c0", "r.seed-2"), ("c0.seed-2", "r")]
    rows, drawn = [], {}
    for checkpoint, recipe in trainings:
        y = CURVE + 0.01 * rng.normal(size=3)
        drawn[checkpoint, recipe, "t"] = X, y + QUERY_SD * rng.normal(size=(200, 1))
        key = {"checkpoint": checkpoint, "recipe": recipe, "task": "t"}
        rows.append(key | curve(*drawn[checkpoint, recipe, "t"][:1], y, drawn[checkpoint, recipe, "t"][1], 0.05))
    [row] = over_seeds(pd.DataFrame(rows, columns=COLUMNS), drawn, of, SPEC).to_dict("records")
    assert (row["checkpoint"], row["recipe"], row["seeds"]) == ("c0", "r", 3)
    first, second, third = (one["area"] for one in rows)
    assert row["area"] == pytest.approx(((first + second) / 2 + third) / 2)
    about = {"task": "t", "metric": "ndcg_at_10", "step": 1, "queries": 9}
    curves = pd.DataFrame([about | dict(zip(("checkpoint", "recipe"), one)) for one in trainings])
    assert list(joined_curves(curves.assign(value=[0.1, 0.2, 0.4]), of)["value"]) == pytest.approx([0.275])


def test_trainings_without_a_last_score_leave_no_pairs_and_one_that_is_there_at_once_is_said():
    rng = np.random.default_rng(6)
    without, at_once = {"r": CURVE, "r.seed-2": np.zeros(3)}, {"r": CURVE, "r.seed-2": CURVE[[2, 2, 2]]}
    for of, missing in ((without, True), (at_once, False)):
        rows, drawn = [], {}
        for recipe, y in of.items():
            draws = np.maximum(0, y + (y > 0) * QUERY_SD * rng.normal(size=(200, 1)))
            rows.append({"checkpoint": "c", "recipe": recipe, "task": "t"} | curve(X, y, draws, 0.05))
            drawn["c", recipe, "t"] = X, draws
        [row] = over_seeds(pd.DataFrame(rows, columns=COLUMNS), drawn, THREE, SPEC).to_dict("records")
        assert row["reason"] == ("the last score is 0" if missing else "")
        assert pd.isna(row["needed_low"]) is pd.isna(row["needed"]) is missing
        assert pd.isna(row["at_most"]) if missing else row["at_most"] is True
        assert row["area_low"] < row["area"] < row["area_high"]

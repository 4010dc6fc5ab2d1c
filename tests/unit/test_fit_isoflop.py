"""Equal compute: REML against closed forms and brute force, the margin's error rates, pairs, and what is refused."""

import ladders
import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from retscale.collect.means import MEAN
from retscale.fit import isoflop
from retscale.fit.compare import PAIR_COLUMNS, isoflop_pairs
from retscale.fit.ladder import Ladder, ladder_of
from retscale.fit.multiple import benjamini_hochberg, holm
from retscale.fit.reml import deviance, reml


def test_a_balanced_design_has_the_variances_of_its_analysis():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(6), 4)
    y = np.array([0.3 + tau * rng.normal(size=6)[groups] + rng.normal(size=24) for tau in (2.0, 0.0, 0.0, 0.0)])
    fitted = reml(np.ones((24, 1)), y, groups)
    means = y.reshape(4, 6, 4).mean(2)
    within = ((y.reshape(4, 6, 4) - means[..., None]) ** 2).sum((1, 2)) / 18
    between = 4 * means.var(1, ddof=1)
    varying = between > within
    assert varying[0] and not varying.all()
    np.testing.assert_allclose(fitted.sigma[varying] ** 2, within[varying], rtol=1e-5)
    np.testing.assert_allclose(fitted.tau[varying] ** 2, (between - within)[varying] / 4, rtol=1e-4)
    np.testing.assert_allclose(fitted.sigma[~varying], y.std(1, ddof=1)[~varying], rtol=1e-9)
    assert (fitted.tau[~varying] == 0).all()


def dense(theta, columns, y, groups):
    """-2 log of the restricted likelihood from whole matrices."""
    sigma2, tau2 = np.exp(theta)
    cov = sigma2 * np.eye(len(y)) + tau2 * (groups[:, None] == groups)
    inverse = np.linalg.inv(cov)
    gram = columns.T @ inverse @ columns
    left = y - columns @ np.linalg.solve(gram, columns.T @ inverse @ y)
    return np.linalg.slogdet(cov)[1] + np.linalg.slogdet(gram)[1] + left @ inverse @ left


def test_the_optimum_is_that_of_whole_matrices_on_the_papers_cells():
    rng = np.random.default_rng(1)
    ladder = ladders.ladder(ladders.scores(0.04 * ladders.X0, 0.01, 1, rng)[0])
    columns = isoflop.columns(ladder)
    fitted = reml(columns, ladder.y[None], ladder.groups)
    arguments = (columns, ladder.y, ladder.groups)
    best = optimize.minimize(dense, [-10.0, -9.0], arguments, "Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9})
    expected = np.exp(best.x / 2)
    np.testing.assert_allclose((fitted.sigma[0], fitted.tau[0]), expected, rtol=1e-4)
    inverse = np.linalg.inv(
        expected[0] ** 2 * np.eye(27) + expected[1] ** 2 * (ladder.groups[:, None] == ladder.groups)
    )
    cov = np.linalg.inv(columns.T @ inverse @ columns)
    np.testing.assert_allclose(fitted.covariance[0], cov, rtol=1e-3)
    np.testing.assert_allclose(fitted.beta[0], cov @ columns.T @ inverse @ ladder.y, rtol=1e-5)
    shares, member = np.linspace(0, 0.99, 100), np.eye(ladder.n_sizes)[ladder.groups]
    least = min(deviance(columns, ladder.y[None], member, np.array([share]))[0] for share in shares)
    share = fitted.tau**2 / (fitted.tau**2 + fitted.sigma**2)
    assert deviance(columns, ladder.y[None], member, share)[0] <= least + 1e-9


def verdicts(delta, tau, replicates, seed):
    rng = np.random.default_rng(seed)
    curve = 0.3 + 0.04 * ladders.X0 + delta * (ladders.RATIO - ladders.RATIO.mean())
    ladder = ladders.ladder(curve)
    y = ladders.scores(curve, tau, replicates, rng)
    fitted = reml(isoflop.columns(ladder), y, ladder.groups)
    last = np.array([0, 0, 0, 1.0])
    wide, narrow = (isoflop.interval(fitted, last, isoflop.degrees(ladder), alpha)[1:] for alpha in (0.05, 0.10))
    covered = (wide[0] <= delta) & (delta <= wide[1])
    return isoflop.judge(*wide, *narrow), covered.mean()


@pytest.mark.parametrize("tau", [0, 0.003, 0.006, 0.010])
def test_the_margin_is_kept_and_equality_is_found(tau):
    at_margin, covered = verdicts(0.01, tau, 1000, 2)
    assert (at_margin == "supported").mean() <= 0.08 and (at_margin == "not supported").mean() <= 0.05
    assert 0.93 <= covered
    equal, _ = verdicts(0.0, tau, 1000, 3)
    assert (equal == "supported").mean() >= {0: 0.8, 0.003: 0.8, 0.006: 0.6, 0.010: 0.2}[tau]
    apart, _ = verdicts(0.03, tau, 1000, 4)
    assert (apart == "not supported").mean() >= {0: 0.95, 0.003: 0.9, 0.006: 0.5, 0.010: 0.2}[tau]


@pytest.mark.long
@pytest.mark.parametrize("tau", [0, 0.003, 0.006, 0.010])
def test_the_margin_is_kept_over_many_studies(tau):
    at_margin, covered = verdicts(0.01, tau, 40_000, 5)
    assert (at_margin == "supported").mean() <= 0.08 and covered >= 0.945


def noisy_ladder(delta=0.0, seed=6, tau=0.003, **change):
    curve = 0.3 + 0.04 * ladders.X0 + delta * ladders.RATIO
    return ladders.ladder(ladders.scores(curve, tau, 1, np.random.default_rng(seed))[0], **change)


def test_a_familys_offset_is_its_intercept():
    families = np.array(["a", "b"])[ladders.SIZES % 2]
    fitted = isoflop.equal_compute(noisy_ladder(families=families), 0.05)
    ladder = noisy_ladder(families=families)
    shifted = Ladder(ladder.at, ladder.y + 0.1 * (families == "b"), ladder.sizes, families)
    other = isoflop.equal_compute(shifted, 0.05)
    assert (fitted.families, fitted.df) == (2, 3)
    for name in ("delta", "low", "growth_high", "sigma", "tau"):
        assert getattr(fitted, name) == pytest.approx(getattr(other, name), abs=1e-6)
    pooled = isoflop.equal_compute(Ladder(shifted.at, shifted.y, shifted.sizes, np.full(27, "a")), 0.05)
    assert pooled.sigma > 1.5 * fitted.sigma or pooled.tau > 3 * fitted.tau


def test_order_and_units_of_flops_do_not_matter():
    ladder, order = noisy_ladder(), np.random.default_rng(7).permutation(27)
    fitted, other = isoflop.equal_compute(ladder, 0.05), isoflop.equal_compute(ladder[order], 0.05)
    at = type(ladder.at)(ladder.at.x + 5, ladder.at.n, ladder.at.d)
    third = isoflop.equal_compute(Ladder(at, ladder.y, ladder.sizes, ladder.families), 0.05)
    for name in ("delta", "low", "tost_high", "growth", "curvature"):
        assert getattr(fitted, name) == pytest.approx(getattr(other, name), abs=1e-6)
        assert getattr(fitted, name) == pytest.approx(getattr(third, name), abs=1e-6)


@pytest.mark.parametrize("noise", [0, 1e-16])
def test_a_constant_is_one_whatever_its_rounding(noise):
    rng = np.random.default_rng(8)
    row = isoflop.equal_compute(ladders.ladder(0.4 + noise * rng.normal(size=27)), 0.05)
    assert (row.status, row.reason, row.verdict, row.delta) == (
        "unidentified",
        "all values are equal",
        "cannot tell",
        None,
    )


def test_what_has_no_noise_has_no_interval():
    row = isoflop.equal_compute(ladders.ladder(0.3 + 0.04 * ladders.X0), 0.05)
    assert (row.status, row.low) == ("unidentified", None) and "every point" in row.reason


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (slice(0, 0), "0 checkpoints of 0 sizes; this needs 12 of 4"),
        (slice(0, 11), "11 checkpoints of 2 sizes"),
        (slice(0, 17), "17 checkpoints of 3 sizes"),
        (
            np.unique(np.append(np.unique(ladders.SIZES, return_index=True)[1], np.arange(8))),
            "tokens vary in 1 size; this needs 3",
        ),
    ],
)
def test_too_little_is_insufficient(rows, says):
    row = isoflop.equal_compute(noisy_ladder()[rows], 0.05)
    assert row.status == "insufficient" and says in row.reason and row.verdict == "cannot tell"


def test_verdicts_exclude_each_other():
    rng = np.random.default_rng(9)
    value, half = rng.normal(0, 0.02, 500), rng.exponential(0.01, 500)
    said = isoflop.judge(value - half, value + half, value - 0.8 * half, value + 0.8 * half)
    inside, outside = np.abs(value) + 0.8 * half < 0.01, np.abs(value) - half > 0.01
    assert not (inside & outside).any() and set(said) == {"supported", "not supported", "cannot tell"}
    assert ((said == "supported") == inside).all() and ((said == "not supported") == outside).all()


def points(ladder):
    table = pd.DataFrame({"checkpoint": [f"c{i:02d}" for i in range(len(ladder))], "recipe": "r", "task": MEAN})
    at = {"n_params": np.exp(ladder.at.n), "n_tokens": np.exp(ladder.at.d), "flops": np.exp(ladder.at.x)}
    table = table.assign(size=ladder.sizes, family=ladder.families, y=ladder.y, schedule="finished", **at)
    return table.assign(tokens_per_param=table["n_tokens"] / table["n_params"], log_flops=ladder.at.x / np.log(10))


def drawn(table, sd=0.003):
    rng, keys = (
        np.random.default_rng(10),
        list(table[["checkpoint", "recipe", "task"]].itertuples(index=False, name=None)),
    )
    columns = pd.MultiIndex.from_tuples(keys, names=["checkpoint", "recipe", "task"])
    return pd.DataFrame(table["y"].to_numpy() + sd * rng.normal(size=(400, len(table))), columns=columns)


def test_pairs_are_adjusted_and_tested_within_the_ratio():
    table = points(noisy_ladder())
    draws = drawn(table)
    pairs = isoflop_pairs(table, draws, 1.25, 0.05)
    near = pairs[pairs["iso_flop"]]
    assert (
        len(near) == 15
        and pairs["flops_ratio"].between(0.1, 10).all()
        and (pairs["size_small"] != pairs["size_large"]).all()
    )
    model = isoflop.equal_compute(ladder_of(table), 0.05)
    row = near.iloc[0]
    adjusted = row["y_large"] - row["y_small"] - model.growth * np.log10(row["flops_ratio"])
    query = (draws[row["checkpoint_large"], "r", MEAN] - draws[row["checkpoint_small"], "r", MEAN]).var(ddof=0)
    error = np.sqrt(query + 2 * (model.sigma**2 + model.tau**2))
    assert row["adjusted"] == pytest.approx(adjusted)
    assert row["high"] - row["adjusted"] == pytest.approx(stats.t.ppf(0.975, 4) * error)
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(adjusted) / error, 4))
    assert row["multiplier"] == pytest.approx(10 ** (adjusted / model.growth))
    np.testing.assert_allclose(near["p_holm"], holm(near["p"].to_numpy(float)))
    far = pairs[~pairs["iso_flop"]]
    assert (
        far[["low", "p", "p_holm"]].isna().all(axis=None)
        and far["reason"].str.startswith("not of equal compute: ").all()
    )
    # The paper's example has 7 times the FLOPs on one side.
    paper = far[(far["tokens_per_param_small"] > 9000) & far["tokens_per_param_large"].between(19, 21)]
    assert 0.13 < paper["flops_ratio"].min() < 0.15


def test_pairs_stay_within_a_family_and_need_no_queries():
    table = points(noisy_ladder(families=np.array(["a", "b"])[ladders.SIZES % 2]))
    pairs = isoflop_pairs(table, pd.DataFrame(), 1.25, 0.05)
    family = dict(zip(table["checkpoint"], table["family"], strict=True))
    assert all(
        family[a] == family[b] for a, b in zip(pairs["checkpoint_small"], pairs["checkpoint_large"], strict=True)
    )
    assert pairs["query_low"].isna().all() and pairs["low"].notna().any()


def test_tables_keep_their_columns_where_there_is_nothing():
    none = points(noisy_ladder())[:0]
    assert list(isoflop_pairs(none, pd.DataFrame(), 1.25, 0.05).columns) == PAIR_COLUMNS
    assert list(isoflop.isoflop_global(none, 0.05).columns) == isoflop.GLOBAL_COLUMNS


def test_corrections_are_those_by_hand():
    p = np.array([0.01, np.nan, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(holm(p), [0.03, np.nan, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(benjamini_hochberg(p), [0.02, np.nan, 0.04, 0.04, 0.02])
    assert holm(np.array([])).shape == (0,) and np.isnan(holm(np.array([np.nan]))).all()

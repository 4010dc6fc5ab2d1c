"""The optimum of a form on a ladder, by scipy's bounded least squares from deterministic starts."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from retscale.fit.forms.form import Form, Linear
from retscale.fit.ladder import Compute, Ladder

POLISHED = 3  # starts that are followed to their optimum: those that fit best
TOLERANCE = 1e-10
AT_BOUND = 1e-3  # of the distance between two bounds, or of 1 where there is one: nearer is on it
DEPENDENT = 1e-9  # singular values below this share of the largest are 0


@dataclass(frozen=True)
class Solution:
    """k form parameters and then one intercept for each further family, p in all; `jacobian` (n, p), `residuals` (n,).

    `free` (p,) are the parameters that no bound holds. status: ok, bound_hit, not_converged or unidentified.
    """

    parameters: np.ndarray
    jacobian: np.ndarray
    residuals: np.ndarray
    free: np.ndarray
    status: str
    reason: str


def solve(form: Form, ladder: Ladder, **options) -> Solution:
    """Least squares of y, each weighted by its precision, on the form plus an intercept for each further family.

    `options` go to scipy.optimize.least_squares, such as a robust loss.
    """
    at, contrasts = ladder.at.minus(ladder.centre), ladder.contrasts()
    k, y, root = len(form.parameters), ladder.y, np.sqrt(ladder.precision)

    def predict(parameters: np.ndarray) -> np.ndarray:
        return form.predict(parameters[:k], at) + contrasts @ parameters[k:]

    def jacobian(parameters: np.ndarray) -> np.ndarray:
        return np.column_stack([form.jacobian(parameters[:k], at), contrasts])

    if isinstance(form, Linear):
        columns = np.column_stack([form.columns(at), contrasts])
        parameters, reason = np.linalg.lstsq(root[:, None] * columns, root * y, rcond=None)[0], ""
    else:
        further = np.full(contrasts.shape[1], np.inf)
        lower, upper = form.limits
        bounds = np.append(lower, -further), np.append(upper, further)
        parameters, reason = _descend(
            lambda parameters: root * (predict(parameters) - y),
            lambda parameters: root[:, None] * jacobian(parameters),
            _starts(form, at, y, contrasts),
            bounds,
            options,
        )
    gradient = jacobian(parameters)
    held, names = _held(form, parameters), list(form.parameters)
    free = np.append(~held, np.ones(len(parameters) - k, bool))
    status = "not_converged" if reason else "ok"
    if rank(gradient[:, free]) < free.sum():
        status, reason = "unidentified", "the checkpoints do not tell the form's parameters apart"
    elif not reason and held.any():
        status, reason = "bound_hit", f"at a bound: {', '.join(name for name, at_it in zip(names, held) if at_it)}"
    return Solution(parameters, gradient, y - predict(parameters), free, status, reason)


def rank(columns: np.ndarray) -> int:
    """Of columns (n, k), each scaled to unit length first."""
    lengths = np.linalg.norm(columns, axis=0)
    if not columns.size or not lengths.max() > 0:
        return 0
    return int(np.linalg.matrix_rank(columns / np.where(lengths > 0, lengths, 1), tol=DEPENDENT))


def _starts(form: Form, at: Compute, y: np.ndarray, contrasts: np.ndarray) -> np.ndarray:
    """The form's starts without what a line with an intercept per family says of the families, and that."""
    line = np.column_stack([np.ones_like(y), at.x, contrasts])
    intercepts = np.linalg.lstsq(line, y, rcond=None)[0][2:]
    starts = form.starts(at, y - contrasts @ intercepts)
    return np.column_stack([starts, np.tile(intercepts, (len(starts), 1))])


def _descend(
    misses: Callable, jacobian: Callable, starts: np.ndarray, bounds: tuple, options: dict
) -> tuple[np.ndarray, str]:
    """The best optimum of the sum of squared `misses` from the best starts, and why it is none, if so."""
    from scipy.optimize import least_squares

    starts = np.clip(starts, *bounds)
    misfit = [float((misses(start) ** 2).sum()) for start in starts]
    best = None
    for index in np.argsort(misfit, kind="stable")[:POLISHED]:
        result = least_squares(
            misses,
            starts[index],
            jac=jacobian,
            bounds=bounds,
            x_scale="jac",
            **{"xtol": TOLERANCE, "ftol": TOLERANCE, "gtol": TOLERANCE, "max_nfev": 300} | options,
        )
        if best is None or result.cost < best.cost * (1 - TOLERANCE):
            best = result
    return best.x, "" if best.status > 0 else f"no optimum in {best.nfev} steps"


def _held(form: Form, parameters: np.ndarray) -> np.ndarray:
    """Which of the form's parameters (k,) lie on a bound."""
    values, (lower, upper) = parameters[: len(form.parameters)], form.limits
    near = AT_BOUND * np.where(np.isfinite(upper - lower), upper - lower, 1.0)
    return (values - lower < near) | (upper - values < near)

"""Levenberg-Marquardt for a batch of small problems."""

from collections.abc import Callable

import torch

Linearize = Callable[..., tuple[torch.Tensor, torch.Tensor]]
"""Parameters `(B, P)` and data `(B, ...)` to residuals `(B, R)` and their derivatives `(B, R, P)`."""

_SETTLED = 1e-4
_MAX_DAMPING = 1e6


def minimize(
    linearize: Linearize, start: torch.Tensor, *data: torch.Tensor, steps: int = 30
) -> tuple[torch.Tensor, torch.Tensor]:
    """Minimises half the sum of squared residuals of every row (Levenberg 1944, Marquardt 1963).

    Each row has its own damping, which shrinks after a step that lowers the cost and grows after one that does not;
    such a step is rejected. A row is done when it improves, but by less than a ten-thousandth, or when no step
    however small improves it; the others go on without it.

    Args:
        linearize (callable): the residuals and their derivatives, see `Linearize`. The derivatives may be approximate:
            steps are judged by the residuals alone.
        start (`torch.Tensor` of shape `(B, P)`): initial parameters.
        data (`torch.Tensor`s of shape `(B, ...)`): further arguments of `linearize`.
        steps (`int`): largest number of steps.

    Returns:
        `tuple`: parameters `(B, P)` and the cost of each row `(B,)`.
    """
    parameters = start.clone()
    values, jacobian = linearize(parameters, *data)
    cost = 0.5 * values.square().sum(-1)
    normal, gradient = _normal_equations(values, jacobian)
    damping = torch.full_like(cost, 1e-2)
    rows = torch.arange(len(start))
    for _ in range(steps):
        if not len(rows):
            break
        step, solved = _damped_step(normal[rows], gradient[rows], damping[rows])
        tried = parameters[rows] - step
        tried_values, tried_jacobian = linearize(tried, *(item[rows] for item in data))
        tried_cost = 0.5 * tried_values.square().sum(-1)
        better = solved & (tried_cost < cost[rows])
        done = better & (cost[rows] - tried_cost <= _SETTLED * cost[rows])
        improved = rows[better]
        parameters[improved], cost[improved] = tried[better], tried_cost[better]
        normal[improved], gradient[improved] = _normal_equations(tried_values[better], tried_jacobian[better])
        damping[rows] = torch.where(better, damping[rows] / 3, damping[rows] * 4).clamp_min(1e-9)
        rows = rows[~done & (damping[rows] < _MAX_DAMPING)]
    return parameters, cost


def _normal_equations(values: torch.Tensor, jacobian: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return jacobian.mT @ jacobian, (jacobian.mT @ values[..., None])[..., 0]


def _damped_step(
    normal: torch.Tensor, gradient: torch.Tensor, damping: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Steps `(B, P)`, and which rows `(B,)` have one."""
    diagonal = normal.diagonal(dim1=-2, dim2=-1).clamp_min(1e-9) * damping[:, None]
    factor, failed = torch.linalg.cholesky_ex(normal + torch.diag_embed(diagonal))
    step = torch.cholesky_solve(gradient[..., None], factor)[..., 0]
    return step, (failed == 0) & torch.isfinite(step).all(-1)

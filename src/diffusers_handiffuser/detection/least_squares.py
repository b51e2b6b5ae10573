"""Levenberg-Marquardt for many small problems at once."""

from collections.abc import Callable

import torch


def minimize(
    residuals: Callable[..., torch.Tensor], start: torch.Tensor, *data: torch.Tensor, steps: int = 30
) -> tuple[torch.Tensor, torch.Tensor]:
    """Minimises half the sum of squared residuals of every row (Levenberg 1944, Marquardt 1963).

    Each row has a damping of its own, which shrinks after a step that helped and grows after one that did not; such a
    step is not taken. It ends before its time when every row gains less than a ten-thousandth.

    Args:
        residuals (callable): of one row: parameters `(P,)` and the row's data to `(R,)`. Differentiated forwards.
        start (`torch.Tensor` of shape `(B, P)`): the first guess.
        data (`torch.Tensor`s of shape `(B, ...)`): what else `residuals` needs.
        steps (`int`): how many steps are tried.

    Returns:
        `tuple`: parameters `(B, P)` and the cost of each row `(B,)`.
    """
    evaluate = torch.func.vmap(residuals)
    differentiate = torch.func.vmap(torch.func.jacfwd(residuals))

    def cost_of(parameters: torch.Tensor) -> torch.Tensor:
        return 0.5 * evaluate(parameters, *data).square().sum(-1)

    parameters, cost = start, cost_of(start)
    damping = torch.full_like(cost, 1e-2)
    for _ in range(steps):
        values, jacobian = evaluate(parameters, *data), differentiate(parameters, *data)
        normal = jacobian.mT @ jacobian
        gradient = (jacobian.mT @ values[..., None])[..., 0]
        diagonal = normal.diagonal(dim1=-2, dim2=-1).clamp_min(1e-9) * damping[:, None]
        step = torch.linalg.solve(normal + torch.diag_embed(diagonal), gradient)
        tried = parameters - step
        tried_cost = cost_of(tried)
        better = tried_cost < cost
        settled = (cost - tried_cost).abs() <= 1e-4 * cost
        parameters = torch.where(better[:, None], tried, parameters)
        cost = torch.where(better, tried_cost, cost)
        damping = torch.where(better, damping / 3, damping * 4).clamp(1e-9, 1e6)
        if (settled & better).all():
            break
    return parameters, cost

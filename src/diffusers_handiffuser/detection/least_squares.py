"""Levenberg-Marquardt for a batch of small problems."""

from collections.abc import Callable

import torch


def minimize(
    residuals: Callable[..., torch.Tensor], start: torch.Tensor, *data: torch.Tensor, steps: int = 30
) -> tuple[torch.Tensor, torch.Tensor]:
    """Minimises half the sum of squared residuals of every row (Levenberg 1944, Marquardt 1963).

    Each row has its own damping, which shrinks after a step that lowers the cost and grows after one that does not;
    such a step is rejected. Stops early when every row improves, but by less than a ten-thousandth.

    Args:
        residuals (callable): parameters `(P,)` and data of one row to its residuals `(R,)`; differentiated in forward
            mode.
        start (`torch.Tensor` of shape `(B, P)`): initial parameters.
        data (`torch.Tensor`s of shape `(B, ...)`): further arguments of `residuals`.
        steps (`int`): largest number of steps.

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

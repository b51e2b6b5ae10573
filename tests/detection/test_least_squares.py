"""Levenberg-Marquardt on problems whose minima are known."""

import torch

from diffusers_handiffuser.detection.least_squares import minimize

STARTS = torch.tensor([[-1.2, 1.0], [3.0, -2.0], [0.0, 5.0]])
WANTED = torch.tensor([1.0, 2.0, -1.5])


def linearized(residuals):
    """Residuals of one row and their derivatives, for all rows."""
    evaluate, differentiate = torch.func.vmap(residuals), torch.func.vmap(torch.func.jacfwd(residuals))
    return lambda *rows: (evaluate(*rows), differentiate(*rows))


@linearized
def rosenbrock(x, a):
    """Rosenbrock's valley as residuals; its minimum is (a, a^2)."""
    return torch.stack([a - x[0], 10 * (x[1] - x[0] ** 2)])


def test_finds_minima_from_several_starts_at_once():
    found, cost = minimize(rosenbrock, STARTS, WANTED, steps=60)
    assert torch.allclose(found, torch.stack([WANTED, WANTED**2], -1), atol=1e-3)
    assert (cost < 1e-6).all()


def test_linear_problems_as_lstsq():
    random = torch.Generator().manual_seed(0)
    matrices, values = torch.randn(4, 9, 3, generator=random), torch.randn(4, 9, generator=random)
    linear = linearized(lambda x, matrix, value: matrix @ x - value)
    found, cost = minimize(linear, torch.zeros(4, 3), matrices, values)
    wanted = torch.linalg.lstsq(matrices, values[..., None]).solution
    assert torch.allclose(found, wanted[..., 0], atol=1e-4)
    assert torch.allclose(cost, 0.5 * (matrices @ wanted - values[..., None]).square().sum((1, 2)), rtol=1e-4)


def test_a_row_does_not_depend_on_the_others():
    together, _ = minimize(rosenbrock, STARTS, WANTED, steps=8)
    for row in range(len(STARTS)):
        alone, _ = minimize(rosenbrock, STARTS[row : row + 1], WANTED[row : row + 1], steps=8)
        assert torch.allclose(alone[0], together[row], atol=1e-4)


def test_costs_never_grow():
    costs = torch.stack([minimize(rosenbrock, STARTS, WANTED, steps=steps)[1] for steps in range(12)])
    assert (costs.diff(dim=0) <= 0).all() and (costs[-1] < costs[0]).all()


def test_a_row_that_hardly_improves_is_done():
    sizes = []

    def residuals(x, offset):
        sizes.append(len(x))
        values = torch.cat([x**3, offset], -1)
        return values, torch.stack([3 * x**2, torch.zeros_like(x)], 1)

    found, _ = minimize(residuals, torch.ones(2, 1), torch.tensor([[1.0], [1e-6]]), steps=100)
    assert sizes[0] == 2 and 1 in sizes and len(sizes) < 60
    assert found[1] < found[0] < 0.3


def test_a_row_without_a_solution_keeps_its_start():
    def residuals(x):
        values = torch.where(x > 0, x - 3, torch.nan)
        return values, torch.where(x > 0, 1.0, torch.nan)[..., None]

    found, cost = minimize(residuals, torch.tensor([[1.0], [-1.0]]), steps=40)
    assert torch.allclose(found, torch.tensor([[3.0], [-1.0]]), atol=1e-3) and cost[0] < 1e-5

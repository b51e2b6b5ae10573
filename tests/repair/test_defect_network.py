"""The network of the judge."""

import pytest
import torch

from diffusers_handiffuser.repair.defect_network import HandDefectNetwork
from diffusers_handiffuser.repair.fit_signs import SIGNS
from diffusers_handiffuser.repair.judging import REASONS
from diffusers_handiffuser.studio.defects import DEFECTS

MOST_BYTES = 2 * 2**20


def views(number, network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    near, wide = network.config.near_size, network.config.wide_size
    return (
        torch.rand(number, 6, near, near, generator=generator),
        torch.rand(number, 4, wide, wide, generator=generator),
        torch.rand(number, len(SIGNS), generator=generator),
    )


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return HandDefectNetwork(kinds=DEFECTS).half().float().eval()


def test_it_is_small_and_has_a_reason_for_every_defect(network):
    assert sum(2 * value.numel() for value in network.state_dict().values()) <= MOST_BYTES  # in half precision
    assert tuple(REASONS) == DEFECTS


def test_rows_do_not_depend_on_each_other(network):
    near, wide, signs = views(3, network)
    together = network(near, wide, signs)
    alone = network(near[1:2], wide[1:2], signs[1:2])
    assert together.logits.shape == (3, 1 + len(DEFECTS)) and together.studio.shape == (3,)
    assert together.where.shape == (3, network.config.near_size // 8, network.config.near_size // 8)
    for part, row in zip(together, alone, strict=True):
        assert torch.allclose(part[1:2], row, atol=1e-4)


def test_every_input_counts(network):
    given = views(2, network)
    before = network(*given).logits
    for changed in range(3):
        other = list(given)
        other[changed] = 1 - given[changed]
        assert (network(*other).logits - before).abs().amax() > 1e-5


def test_a_saved_network_is_the_same(tmp_path):
    torch.manual_seed(0)
    network = HandDefectNetwork(kinds=("a", "b"), near_channels=(4, 8, 8, 8), wide_channels=(4, 8)).eval()
    network.register_to_config(threshold=0.7, studio_threshold=-1.5)
    network.save_pretrained(tmp_path)
    loaded = HandDefectNetwork.from_pretrained(tmp_path).eval()
    given = views(2, network)
    assert torch.equal(loaded(*given).logits, network(*given).logits)
    assert (loaded.config.threshold, loaded.config.studio_threshold) == (0.7, -1.5)

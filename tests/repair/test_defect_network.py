"""The network of the judge."""

import pytest
import torch

from diffusers_handiffuser.repair.defect_network import DEFECT_NETWORK, HandDefectNetwork
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
def bundled():
    return HandDefectNetwork.bundled()


def test_the_bundled_network_is_small_and_knows_all_defects(bundled):
    assert sum(file.stat().st_size for file in DEFECT_NETWORK.rglob("*") if file.is_file()) <= MOST_BYTES
    assert tuple(bundled.config.kinds) == DEFECTS == tuple(REASONS)
    assert bundled.config.num_signs == len(SIGNS)
    assert not bundled.training and bundled.dtype == torch.float32


def test_rows_do_not_depend_on_each_other(bundled):
    near, wide, signs = views(3, bundled)
    together = bundled(near, wide, signs)
    alone = bundled(near[1:2], wide[1:2], signs[1:2])
    assert together.logits.shape == (3, 1 + len(DEFECTS)) and together.studio.shape == (3,)
    assert together.where.shape == (3, bundled.config.near_size // 8, bundled.config.near_size // 8)
    for part, row in zip(together, alone, strict=True):
        assert torch.allclose(part[1:2], row, atol=1e-4)


def test_every_input_counts(bundled):
    given = views(2, bundled)
    before = bundled(*given).logits
    for changed in range(3):
        other = list(given)
        other[changed] = 1 - given[changed]
        assert (bundled(*other).logits - before).abs().amax() > 1e-3


def test_a_saved_network_is_the_same(tmp_path):
    torch.manual_seed(0)
    network = HandDefectNetwork(kinds=("a", "b"), near_channels=(4, 8, 8, 8), wide_channels=(4, 8)).eval()
    network.register_to_config(threshold=0.7, studio_threshold=-1.5)
    network.save_pretrained(tmp_path)
    loaded = HandDefectNetwork.from_pretrained(tmp_path).eval()
    given = views(2, network)
    assert torch.equal(loaded(*given).logits, network(*given).logits)
    assert (loaded.config.threshold, loaded.config.studio_threshold) == (0.7, -1.5)

import torch

from diffusers_handiffuser.studio import SKIN_TONES
from diffusers_handiffuser.studio.skin import skin_tones


def test_palms_are_drawn_to_one_pink():
    """The darker the skin, the more its palms differ from its backs; both keep the order of tones."""
    backs, palms = skin_tones(torch.tensor([0.0, 1.0]))
    assert torch.equal(backs, torch.tensor(list(SKIN_TONES.values())))
    differ = (palms - backs).norm(dim=-1)
    assert differ.argmin() <= 1 and differ.argmax() == len(SKIN_TONES) - 1 and differ.max() > 5 * differ.min()
    assert (torch.argsort(palms.mean(1)) == torch.argsort(backs.mean(1))).all()
    assert torch.allclose(skin_tones(torch.full((2, 3), 0.5)), (backs + palms).expand(2, 3, -1, -1) / 2)

import torch
from diffusers import DDPMScheduler

from diffusers_handiffuser import TextHandEncoder
from diffusers_handiffuser.training.engine.randomness import BatchRandom
from diffusers_handiffuser.training.engine.timesteps import TimestepBalance
from diffusers_handiffuser.training.hand_params_to_image.joint_head import (
    JointLogits,
    joint_cross_entropy,
    near_hands,
    new_joint_head,
    palm_cross_entropy,
)
from diffusers_handiffuser.training.hand_params_to_image.loss import ImageLoss, ImageObjective
from diffusers_handiffuser.training.hand_params_to_image.options import ConditionOptions, LossOptions

NO_DROPOUT = {"condition_dropout": 0.0, "hand_dropout": 0.0}


def image_loss(conditions=None, **options) -> ImageLoss:
    """A loss without dropout unless `conditions` ask for it."""
    conditions = ConditionOptions(**{**NO_DROPOUT, **(conditions or {})})
    empty_ids = torch.zeros(1, 77, dtype=torch.long)
    return ImageLoss(LossOptions(**options), conditions, DDPMScheduler(), empty_ids, torch.device("cpu"))


def test_near_hands_is_one_on_the_joints_of_visible_hands():
    joints = torch.full((2, 2, 21, 2), 5.0)  # far outside
    joints[:, 0] = torch.tensor([0.25, -0.75])  # of the left hand: column 2.5 and row 0.5 of 4
    near = near_hands(joints, torch.tensor([[True, False], [False, True]]), 4)
    assert near.shape == (2, 1, 4, 4)
    assert near[0, 0].argmax().item() == 2 and near[0, 0, 0, 2] == 1
    assert 0.7 < near[0, 0, 0, 3] == near[0, 0, 1, 2] < 1 and near[0, 0, 3, 2] < 0.2
    assert near[1].max() < 1e-3


def test_weight_of_hands_counts_errors_on_them():
    joints = torch.full((1, 2, 21, 2), -0.75)
    batch = {
        "latents": torch.zeros(1, 4, 4, 4),
        "input_ids": torch.zeros(1, 77, dtype=torch.long),
        "hand_joints_2d": joints,
        "hand_visible": torch.tensor([[True, True]]),
    }

    def losses(weight: float, place: tuple[int, int]) -> tuple[float, float]:
        """With a prediction that is 1 off at one place and right elsewhere."""
        loss = image_loss(hand_loss_weight=weight)
        wrong = torch.zeros(1, 4, 4, 4)
        wrong[:, :, *place] = 1

        def objective(noisy, timesteps, *_, **__):
            alpha = loss.noise_scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
            return noisy / (1 - alpha).sqrt() + wrong

        found = loss(objective, batch, BatchRandom(torch.Generator().manual_seed(0), 1, slice(0, 1)))
        return found["loss"].item(), found["mse"].item()

    on, away = (0, 0), (3, 3)
    assert torch.allclose(torch.tensor(losses(0, on)), torch.tensor([1 / 16, 1 / 16]), atol=1e-5)
    assert torch.allclose(torch.tensor(losses(3, on)), torch.tensor([4 / 16, 1 / 16]), atol=1e-5)
    assert torch.allclose(torch.tensor(losses(3, away)), torch.tensor([1 / 16, 1 / 16]), rtol=0.15)


class TestTimestepBalance:
    def test_all_timesteps_count_the_same_and_the_loss_keeps_its_size(self):
        balance = TimestepBalance(1000, torch.device("cpu"))
        generator = torch.Generator().manual_seed(0)
        sums, plain, rows = torch.zeros(2), 0.0, torch.zeros(2)
        for step in range(600):
            timesteps = torch.randint(1000, (16,), generator=generator)
            noisy = (timesteps >= 500).long()
            losses = (0.1 + 0.7 * noisy) * (0.5 + torch.rand(16, generator=generator))  # on average 0.1 and 0.8
            weights = balance(timesteps, losses)
            if step >= 100:
                sums += torch.zeros(2).index_add_(0, noisy, weights * losses)
                rows += torch.zeros(2).index_add_(0, noisy, torch.ones(16))
                plain += losses.sum().item()
        clean, noisy = (sums / rows).tolist()
        assert abs(clean / noisy - 1) < 0.1, (clean, noisy)
        assert abs(sums.sum().item() / plain - 1) < 0.05

    def test_is_without_effect_on_what_is_alike(self):
        balance = TimestepBalance(1000, torch.device("cpu"))
        for timesteps in (torch.tensor([0, 999]), torch.tensor([500, 501])):
            assert torch.allclose(balance(timesteps, torch.full((2,), 0.3)), torch.ones(2))

    def test_goes_on_from_its_state(self):
        first, second = (TimestepBalance(10, torch.device("cpu")) for _ in range(2))
        timesteps, losses = torch.arange(10), torch.arange(10.0) + 1
        first(timesteps, losses)
        assert not torch.allclose(first(timesteps, losses), second(timesteps, losses), atol=1e-3)
        second.load_state_dict(first.state_dict())
        assert torch.equal(first(timesteps, losses), second(timesteps, losses))

    def test_weighs_the_rows_of_the_loss(self):
        batch = {
            "latents": torch.zeros(2, 4, 4, 4),
            "input_ids": torch.zeros(2, 77, dtype=torch.long),
            "hand_joints_2d": torch.zeros(2, 2, 21, 2),
            "hand_visible": torch.zeros(2, 2, dtype=torch.bool),
        }
        loss = image_loss(balance_timesteps=True)

        def objective(noisy, timesteps, *_, **__):
            """Errors of about 1 at the noisier half of the steps, of 0.01 at the others."""
            alpha = loss.noise_scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
            wrong = torch.where(timesteps >= 500, 1.0, 0.1).view(-1, 1, 1, 1)
            return noisy / (1 - alpha).sqrt() + wrong

        plain = set()
        for step in range(1000):
            found = loss(objective, batch, BatchRandom(torch.Generator().manual_seed(step), 2, slice(0, 2)))
            if step >= 800:
                plain.add(round(found["mse"].item(), 2))
                assert 0.2 < found["loss"].item() < 0.8  # about the mean of all losses, whichever rows there are
        assert {0.01, 1.0} < plain


class TestJoints:
    def test_cross_entropies_are_least_where_the_joints_are(self):
        joints = torch.full((1, 2, 21, 2), 5.0)  # outside of the image: these do not count
        joints[:, 1, 0] = torch.tensor([0.25, -0.75])  # column 2 and row 0 of 4, in the middle
        joints[:, 1, 1] = torch.tensor([0.5, 0.75])  # half in column 2, half in 3; row 3
        visible = torch.tensor([[False, True]])
        four, two = torch.tensor(4.0).log(), torch.tensor(2.0).log()

        def found(over, along):
            return joint_cross_entropy(JointLogits(over, along), joints, visible)

        uniform = found(torch.zeros(1, 2, 21, 4, 4), torch.zeros(1, 2, 21, 2, 4))
        assert torch.allclose(torch.stack(uniform), 2 * four)
        over, along = torch.full((1, 2, 21, 4, 4), -50.0), torch.full((1, 2, 21, 2, 4), -50.0)
        for joint, row, column in ((0, 0, 2), (1, 3, 2), (1, 3, 3)):
            over[0, 1, joint, row, column] = along[0, 1, joint, 0, column] = along[0, 1, joint, 1, row] = 50
        assert torch.allclose(torch.stack(found(over, along)), two / 2)
        assert [float(value) for value in found(over, None)] == [float(found(over, along)[0]), 0]
        wrong = found(over.transpose(-1, -2), along.flip(-2))
        assert min(wrong) > 10

    def test_of_no_joints_they_are_zero(self):
        logits = JointLogits(torch.randn(2, 2, 21, 4, 4), torch.randn(2, 2, 21, 2, 4))
        for place, visible in ((0.0, False), (2.0, True)):
            told = torch.full((2, 2, 21, 2), place), torch.full((2, 2), visible)
            assert (
                joint_cross_entropy(logits, *told) == (0, 0)
                and palm_cross_entropy(torch.randn(2, 2, 4, 4), *told) == 0
            )

    def test_head_reads_the_unet_and_changes_nothing(self, picture_components, hand_components):
        unet, text_encoder = picture_components["unet"], hand_components["text_encoder"]
        given, hands = self.given(text_encoder)
        prediction, logits = ImageObjective(unet, text_encoder, new_joint_head(unet, palms=True))(*given, **hands)
        assert logits.heatmap_logits.shape == (2, 2, 21, 8, 8) and logits.coordinate_logits.shape == (2, 2, 21, 2, 32)
        assert logits.palm_logits.shape == (2, 2, 8, 8)
        assert torch.equal(prediction, ImageObjective(unet, text_encoder)(*given, **hands))
        assert not any(block._forward_hooks for block in unet.up_blocks)
        logits.heatmap_logits.square().sum().backward()
        assert unet.down_blocks[0].resnets[0].conv1.weight.grad.abs().sum() > 0
        unet.zero_grad(), text_encoder.zero_grad()

    def test_without_states_of_joints_the_head_reads_the_unet_alone(self, picture_components, hand_components):
        unet, text_encoder = picture_components["unet"], hand_components["text_encoder"]
        given, hands = self.given(text_encoder)
        head = new_joint_head(unet)
        prediction, logits = ImageObjective(unet, text_encoder, head)(*given)
        assert (
            logits.heatmap_logits.shape == (2, 2, 21, 8, 8)
            and logits.coordinate_logits is None
            and logits.palm_logits is None
        )
        assert torch.equal(prediction, ImageObjective(unet, text_encoder)(*given))
        other = TextHandEncoder.from_config(text_encoder.config, hand_representations=["rotations", "vertices"])
        assert ImageObjective(unet, other, head)(*given, **hands)[1].coordinate_logits is None

    def test_head_reads_each_joint_from_its_own_state(self, picture_components, hand_components):
        """Attention is causal: a joint's y knows nothing of later joints; the right hand's come first."""
        unet, text_encoder = picture_components["unet"], hand_components["text_encoder"]
        given, hands = self.given(text_encoder)
        objective = ImageObjective(unet, text_encoder, new_joint_head(unet))
        for side, joint, coordinate in ((0, 5, 1), (1, 5, 0)):
            moved = hands["hand_joints_2d"].clone()
            moved[:, side, joint, coordinate] += 0.5
            before, after = (
                objective(*given, **{**hands, "hand_joints_2d": joints})[1].coordinate_logits
                for joints in (hands["hand_joints_2d"], moved)
            )
            changed = (before != after).any(-1).any(-1).all(0)
            wanted = torch.zeros(2, 21, dtype=torch.bool)
            wanted[side, joint:] = True
            wanted[0] |= side == 1  # the whole left hand comes after the right one
            assert torch.equal(changed, wanted)

    @staticmethod
    def given(text_encoder):
        torch.manual_seed(0)
        hands = {
            "hand_joints_2d": torch.rand(2, 2, 21, 2) - 0.5,
            "hand_visible": torch.ones(2, 2, dtype=torch.bool),
            "hand_rotations": torch.eye(3).expand(2, 2, 16, 3, 3),
            "hand_bps": torch.rand(2, 2, text_encoder.config.num_basis_points),
        }
        return (torch.randn(2, 4, 8, 8), torch.tensor([3, 900]), torch.zeros(2, 77, dtype=torch.long)), hands

    def test_loss_adds_them(self):
        batch = {
            "latents": torch.zeros(1, 4, 4, 4),
            "input_ids": torch.zeros(1, 77, dtype=torch.long),
            "hand_joints_2d": torch.full((1, 2, 21, 2), -0.75),
            "hand_visible": torch.tensor([[True, True]]),
        }

        def found(palm_loss_weight=0.0, **conditions):
            loss = image_loss(conditions, joint_loss_weight=0.5, palm_loss_weight=palm_loss_weight)

            def objective(noisy, *_, **hands):
                along = torch.zeros(1, 2, 21, 2, 8) if hands else None
                palm = torch.full((1, 2, 4, 4), 3.0) if palm_loss_weight > 0 else None
                return torch.zeros_like(noisy), JointLogits(torch.zeros(1, 2, 21, 4, 4), along, palm)

            return loss(objective, batch, BatchRandom(torch.Generator().manual_seed(0), 1, slice(0, 1)))

        over, along = torch.tensor(16.0).log(), torch.tensor(64.0).log()
        told = found()
        assert torch.isclose(told["joints"], over) and torch.isclose(told["joint_states"], along)
        assert torch.isclose(told["loss"], told["mse"] + 0.5 * (over + along))
        dropped = found(condition_dropout=1.0)
        assert dropped["joints"] == dropped["joint_states"] == 0 and dropped["loss"] == dropped["mse"]
        text_only = found(text_only_steps=1.0)
        assert torch.isclose(text_only["joints"], over) and text_only["joint_states"] == 0
        assert "palm" not in told
        palm = found(palm_loss_weight=0.25)  # all joints in one place show neither side
        assert torch.isclose(palm["palm"], (torch.tensor(3.0).exp() + 1).log() - 1.5)
        assert torch.isclose(palm["loss"], told["loss"] + 0.25 * palm["palm"])


def test_palm_cross_entropy_is_least_where_logits_are_right():
    """Two hands alike, fingers up, index to the left: a left one's palm and a right one's back."""
    hands = torch.zeros(1, 2, 21, 2)
    for joint, place in ((0, (0.0, 0.5)), (5, (-0.15, 0.05)), (17, (0.15, 0.05))):
        hands[..., joint, :] = torch.tensor(place)
    logits = torch.zeros(1, 2, 4, 4)
    visible = torch.tensor([[True, True]])

    def found(left: float, right: float, visible=visible):
        palm = logits + torch.tensor([left, right]).view(1, 2, 1, 1)
        return palm_cross_entropy(palm, hands, visible)

    assert torch.isclose(found(0, 0), torch.tensor(2.0).log())
    assert found(20, -20) < 1e-6 and torch.isclose(found(-20, -20), torch.tensor(10.0))
    assert torch.isclose(found(-20, -20, torch.tensor([[True, False]])), torch.tensor(20.0))

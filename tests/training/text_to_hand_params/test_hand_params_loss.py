"""Stage 1's loss."""

import torch
from diffusers import DDIMScheduler

from diffusers_handiffuser import HandBodyModel, HandParams, TextToHandParamsModel
from diffusers_handiffuser.hands.skeleton import JOINT_NAMES
from diffusers_handiffuser.training.text_to_hand_params.loss import (
    HandParamsLoss,
    HandParamsObjective,
    JointLoss,
    value_weights,
)
from diffusers_handiffuser.training.text_to_hand_params.options import DiffusionOptions


def test_the_loss_of_two_rows_by_hand():
    """Numbers of an objective that is always 0.1 off; the second row has no caption."""
    torch.manual_seed(0)
    clean, noise = torch.randn(2, 327), torch.randn(2, 327)
    timesteps, visible = torch.tensor([100, 900]), torch.tensor([[True, True], [True, False]])
    batch = {"samples": clean, "hand_visible": visible, "input_ids": torch.tensor([[5, 6], [7, 8]]),
             "attention_mask": torch.tensor([[1, 1], [1, 1]]), "empty_ids": torch.tensor([[3, 3]]),
             "empty_mask": torch.tensor([[1, 0]])}  # fmt: skip
    options = DiffusionOptions(snr_gamma=5.0, joint_loss_weight=2.0, invisible_hand_weight=0.5)
    scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample")
    model = TextToHandParamsModel(hidden_size=16, num_layers=1, num_attention_heads=2, cross_attention_dim=16)
    joint_loss = JointLoss(model, HandBodyModel.procedural())
    given = {}

    def objective(noisy, timesteps, input_ids, attention_mask):
        given.update(noisy=noisy, input_ids=input_ids, attention_mask=attention_mask)
        return clean + 0.1

    losses = HandParamsLoss(options, scheduler, joint_loss)(
        objective, batch, noise, timesteps, torch.tensor([False, True])
    )
    signal = scheduler.alphas_cumprod[timesteps]
    torch.testing.assert_close(given["noisy"], signal.sqrt()[:, None] * clean + (1 - signal).sqrt()[:, None] * noise)
    assert given["input_ids"].tolist() == [[5, 6], [3, 3]] and given["attention_mask"].tolist() == [[1, 1], [1, 0]]
    errors = 0.01 * torch.tensor([1.0, 1 - 0.5 * 90 / 327])  # of the second row, 15 joints of a hand count half
    joints = (signal * joint_loss(clean + 0.1, clean, visible)).mean()
    snr = (signal / (1 - signal)).clamp(max=5)
    torch.testing.assert_close(losses["mse"], errors.mean())
    torch.testing.assert_close(losses["joints"], joints)
    torch.testing.assert_close(losses["loss"], (snr * errors).mean() + 2 * joints)
    without = HandParamsLoss(DiffusionOptions(joint_loss_weight=0.0), scheduler, joint_loss)
    assert without(objective, batch, noise, timesteps, torch.tensor([False, True]))["joints"] == 0


def test_joint_loss_counts_visible_hands_only():
    body_model = HandBodyModel.procedural()
    model = TextToHandParamsModel(hidden_size=16, num_layers=1, num_attention_heads=2, cross_attention_dim=16)
    loss = JointLoss(model, body_model)
    hands = HandParams.zeros(3).replace(
        hand_visible=torch.tensor([[True, False], [False, True], [False, False]]),
        left_hand_pose=torch.full((3, 45), 0.1),
        right_hand_pose=torch.full((3, 45), 0.1),
    )
    target = model.encode(hands)
    bent = model.encode(hands.replace(left_hand_pose=torch.full((3, 45), 0.4)))
    errors = loss(bent, target, hands.hand_visible)
    assert errors[0] > 0.01 and errors[1] < 1e-8 and errors[2] == 0
    assert loss(target, target, hands.hand_visible).max() < 1e-8


def test_value_weights_spare_the_fingers_of_invisible_hands():
    weights = value_weights(torch.tensor([[True, False]]), 0.1)[0]
    assert (weights[: 6 * 37] == 1).all() and (weights[312:] == 1).all()
    assert torch.allclose(weights[6 * 37 : 312], torch.tensor(0.1))


@torch.no_grad()
def test_padding_that_all_rows_have_is_not_computed(hand_components):
    model, text_encoder = hand_components["text_to_hand_params"], hand_components["hand_text_encoder"]
    seen = []
    hook = text_encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape[1]))
    generator = torch.Generator().manual_seed(0)
    noisy, timesteps = torch.randn(3, 327, generator=generator), torch.tensor([1, 500, 999])
    ids = torch.randint(0, 200, (3, 77), generator=generator)
    mask = (torch.arange(77) < torch.tensor([[5], [9], [7]])).long()
    found = HandParamsObjective(model, text_encoder)(noisy, timesteps, ids, mask)
    hook.remove()
    assert seen == [5, 7, 9]
    states = text_encoder(ids, attention_mask=mask).last_hidden_state
    wanted = model(noisy, timesteps, states, encoder_attention_mask=mask).sample
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_the_arm_of_a_visible_hand_has_a_weight_of_its_own():
    weights = value_weights(torch.tensor([[True, False]]), 0.1, arm_weight=6.0)[0, : 6 * 52].view(52, 6)[:, 0]
    named = dict(zip(JOINT_NAMES, weights.tolist(), strict=True))
    assert {name for name, weight in named.items() if weight == 6} == {
        "left_collar", "left_shoulder", "left_elbow", "left_wrist"
    }  # fmt: skip
    assert named["right_elbow"] == named["pelvis"] == named["left_index1"] == 1
    assert abs(named["right_index1"] - 0.1) < 1e-6


def test_which_hands_are_visible_has_a_weight_of_its_own():
    weights = value_weights(torch.tensor([[True, False]]), 0.1, visibility_weight=10.0)[0]
    assert weights[-2:].tolist() == [10, 10]
    assert weights[:-2].max() == 1

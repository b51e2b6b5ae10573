"""Joints as tokens: their bins, their order, and their precision."""

import torch
from tiny_text_hand_encoder import caption, encoder, hands
from torch import nn


def test_position_bins():
    table = encoder(num_position_bins=1000).joint_embeddings
    points = torch.tensor([-9.0, -1.0, -0.9981, 0.0, 0.9979, 1.0, 9.0, -torch.inf, torch.inf])
    assert table.position_bins(points).tolist() == [0, 0, 0, 500, 998, 999, 999, 0, 999]
    assert table.position_bins(points.double()).max() == 999
    weight = nn.functional.normalize(table.bin_embedding.weight.detach(), dim=-1)
    similarity = weight @ weight.T
    assert similarity.diagonal(1).min() > 0.95
    assert similarity.diagonal(1).mean() > similarity.diagonal(10).mean() > similarity.diagonal(200).mean()


@torch.no_grad()
def test_joint_tokens_stand_in_the_documented_order():
    table = encoder(num_position_bins=1000).joint_embeddings
    joints = torch.linspace(-1, 1, 2 * 21 * 2).reshape(1, 2, 21, 2)
    tokens = table(joints)[0] - table.position_embedding.weight
    bins = table.position_bins(joints)
    for hand in range(2):
        torch.testing.assert_close(tokens[43 * hand], table.marker_embedding.weight[hand])
        for joint in range(21):
            for axis in range(2):
                expected = table.bin_embedding.weight[bins[0, hand, joint, axis]]
                torch.testing.assert_close(tokens[43 * hand + 1 + 2 * joint + axis], expected)


@torch.no_grad()
def test_bins_are_found_in_full_precision_whatever_the_models_dtype():
    model = encoder(num_position_bins=1000).half()
    given = hands(1, torch.ones(1, 2, dtype=torch.bool))
    given["hand_joints_2d"].fill_(0.9993)
    other = {**given, "hand_joints_2d": torch.full_like(given["hand_joints_2d"], 0.9973)}
    assert (model(caption(1), **given)[0] - model(caption(1), **other)[0]).abs().max() > 0

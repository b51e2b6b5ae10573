import torch

from diffusers_handiffuser.training.engine.like_lengths import by_like_lengths


def test_rows_come_back_in_their_order_and_padding_is_cut():
    lengths = torch.tensor([5, 2, 9, 1, 3, 9])
    mask = (torch.arange(12) < lengths[:, None]).long()
    ids, other = torch.arange(6 * 12).reshape(6, 12), torch.arange(6.0)
    widths = []

    def compute(mask, ids, other):
        widths.append(ids.shape[1])
        return torch.stack([(ids * mask).sum(1).float(), other, mask.sum(1).float()], 1)

    result = by_like_lengths(compute, mask, ids, other)
    assert torch.equal(result[:, 0], (ids * mask).sum(1).float())
    assert torch.equal(result[:, 1], other) and torch.equal(result[:, 2], lengths.float())
    assert widths == sorted(widths) and max(widths) == 9 and len(widths) == 4


def test_fewer_rows_than_groups():
    mask, ids = torch.ones(2, 3).long(), torch.arange(6).reshape(2, 3)
    assert torch.equal(by_like_lengths(lambda mask, ids: ids, mask, ids), ids)
    assert by_like_lengths(lambda mask, ids: ids.sum(1), mask[:1], ids[:1]).tolist() == [3]

"""Depth of each hand and boxes around them, held against HandRefiner's rules written out with numpy."""

import numpy as np
import pytest
import torch

from diffusers_handiffuser import HandParams
from diffusers_handiffuser.hands.camera import project_weak_perspective, square_to_pixels
from diffusers_handiffuser.rendering.caps import straighten_ends
from diffusers_handiffuser.rendering.hand_depth import draw_hand_depth, hand_box_masks


def gray(image) -> np.ndarray:
    array = np.asarray(image)
    assert array.ndim == 3 and (array == array[..., :1]).all()
    return array[..., 0].astype(int)


def turned(hands, body, *rotation) -> HandParams:
    """The right hand of the close-up from another side, in the middle of the image."""
    hands = hands.replace(global_orient=torch.tensor(rotation))
    middle = body(hands).joints_3d[1].mean(0)
    return hands.replace(camera=torch.tensor([5.0, -float(middle[0]), -float(middle[1])]))


def first_hits(hands, body, side: str, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A ray through every pixel: the depth of the first face, or infinity, and whether it is met from inside."""
    vertices = getattr(body(hands), f"{side}_vertices")
    vertices, faces, _ = straighten_ends(vertices, getattr(body, f"{side}_faces"))
    xy = square_to_pixels(project_weak_perspective(vertices, hands.camera), height, width)
    corners = torch.cat([xy, vertices[:, 2:]], 1)[faces].double().numpy()
    y, x = np.mgrid[:height, :width] + 0.5
    depth, inside = np.full((height, width), np.inf), np.zeros((height, width), bool)
    for (ax, ay, az), (bx, by, bz), (cx, cy, cz) in corners:
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0:
            continue
        v = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
        w = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
        z = az + v * (bz - az) + w * (cz - az)
        hit = (v >= 0) & (w >= 0) & (v + w <= 1) & (z < depth)
        depth[hit], inside[hit] = z[hit], area > 0
    return depth, inside


def shades(depth: np.ndarray, inside: np.ndarray) -> np.ndarray:
    seen = np.isfinite(depth) & ~inside
    near, far = depth[seen].min(), depth[seen].max()
    return np.where(seen, 255 * (1 - 0.8 * (np.where(seen, depth, near) - near) / (far - near)), 0).astype(np.uint8)


class TestHandDepth:
    @pytest.mark.parametrize("view", [(torch.pi / 2, 0.0, 0.0), (0.3, 0.4, -1.2), (0.0, 1.1, 0.0)])
    def test_twin(self, close_up, body, view):
        hands, size = turned(close_up, body, *view), 64
        depth, inside = first_hits(hands, body, "right", size, size)
        expected = shades(depth, inside).astype(int)
        ours = gray(draw_hand_depth(hands, body, size, size)[0])
        assert ((ours > 0) != (expected > 0)).sum() <= 3, "but for centres on an edge"
        both = (ours > 0) & (expected > 0)
        assert np.abs(ours - expected)[both].max() <= 2 and (ours == expected)[both].mean() > 0.9
        assert ours.max() == 255 and both.sum() > 60

    def test_surfaces_met_from_inside_are_dropped(self, close_up, body):
        """The hand points away from the viewer, who looks into the wrist."""
        hands = turned(close_up, body, 0.0, 1.3, 0.0)
        _, inside = first_hits(hands, body, "right", 64, 64)
        ours = gray(hands.to_condition("depth_hand", 64))
        assert inside.sum() > 30 and (ours[inside] > 0).sum() <= 3
        assert (gray(hands.to_condition("depth", 64))[inside] > 0).all(), "a lid closes the wrist elsewhere"

    def test_each_hand_has_its_own_range(self, person, body):
        away = person.replace(global_orient=torch.tensor([torch.pi * 0.95, 0.0, -0.9]))
        ours = gray(draw_hand_depth(away, body, 256, 256)[0])
        for visible in ([True, False], [False, True]):
            mask = np.asarray(away.replace(hand_visible=torch.tensor(visible)).to_condition("mask", 256)) > 0
            assert ours[mask].max() == 255 and 50 <= ours[mask][ours[mask] > 0].min() <= 60
        assert gray(away.to_condition("depth", 256))[mask].max() < 200, "where one range is for both"

    def test_range_is_that_of_the_whole_hand(self, close_up, body):
        """In the square, the hand is cut off by the edge; the wide image around it shows the rest."""
        hands = turned(close_up, body, torch.pi / 2, 0.5, 0.0)
        hands = hands.replace(camera=hands.camera + torch.tensor([0.0, 0.17, 0.0]))
        square, wide = (gray(draw_hand_depth(hands, body, 100, width)[0]) for width in (100, 200))
        part = wide[:, 50:150]
        assert (wide[:, 150:] > 0).sum() > 50 < (part > 0).sum()
        assert (np.abs(square - part) > 1).sum() <= 3
        assert part.max() < 250 or part[part > 0].min() > 55, "an extreme lies outside"

    def test_nearer_hand_is_in_front(self, close_up, body):
        pose = close_up.body_pose.clone()
        pose[60] = 1.2  # the right wrist
        second = close_up.replace(body_pose=pose)
        middle = body(second).joints_3d[1].mean(0)
        second = second.replace(camera=torch.tensor([6.6, -float(middle[0]), -float(middle[1])]))
        hits = [first_hits(row, body, "right", 80, 80) for row in (close_up, second)]
        scaled = [depth * float(row.camera[0]) for (depth, _), row in zip(hits, (close_up, second), strict=True)]
        images = [shades(*hit).astype(int) for hit in hits]
        scaled = [np.where(image > 0, depth, np.inf) for image, depth in zip(images, scaled, strict=True)]
        expected = np.where(scaled[0] < scaled[1], *images)
        both = HandParams.cat([close_up.reshape(1), second.reshape(1)])
        ours = gray(draw_hand_depth(both, body, 80, 80, people=True)[0])
        crossing = np.isfinite(scaled[0]) & np.isfinite(scaled[1])
        assert 20 < (scaled[0] < scaled[1])[crossing].sum() < crossing.sum() - 20
        assert (np.abs(ours - expected) > 2).sum() <= 10

    def test_hidden_and_absent_hands_are_black(self, close_up, body):
        gone = close_up.replace(camera=torch.tensor([7.0, 90.0, 0.0]))
        hidden = close_up.replace(hand_visible=torch.tensor([False, False]))
        for hands in (gone, hidden):
            assert not gray(draw_hand_depth(hands, body, 32, 32)[0]).any()
            assert not np.asarray(hand_box_masks(hands, body, 32, 32)[0]).any()
        assert not gray(draw_hand_depth(close_up.reshape(1)[:0], body, 32, 32, people=True)[0]).any()


def box(mask: np.ndarray) -> list[int]:
    """Left, top, right and bottom pixel of what is not black."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [columns[0], rows[0], columns[-1], rows[-1]]


class TestBoxes:
    @pytest.mark.parametrize("size, padding", [(160, 30), (700, None)])
    def test_padding_is_15_percent_or_30_pixels(self, close_up, body, size, padding):
        hands = turned(close_up, body, torch.pi / 2, 0.0, 0.0)
        surface = box(gray(draw_hand_depth(hands, body, size, size)[0]) > 0)
        joints = square_to_pixels(body(hands).joints_2d[1], size, size).int()
        low = [min(a, int(b)) for a, b in zip(surface[:2], joints.amin(0), strict=True)]
        high = [max(a, int(b)) for a, b in zip(surface[2:], joints.amax(0), strict=True)]
        pad = [padding or int((b - a + 1) * 0.15) for a, b in zip(low, high, strict=True)]
        assert padding or min(pad) > 30
        (mask,) = hand_box_masks(hands, body, size, size)
        assert mask.mode == "L" and set(np.unique(mask)) == {0, 255}
        expected = [*(max(a - p, 0) for a, p in zip(low, pad, strict=True))]
        expected += [*(min(b + p, size - 1) for b, p in zip(high, pad, strict=True))]
        assert box(np.asarray(mask) > 0) == expected
        left, top, right, bottom = expected
        assert np.asarray(mask)[top : bottom + 1, left : right + 1].all(), "the box is filled"

    def test_a_box_for_each_visible_hand_of_all_people(self, person, body):
        rows = person.reshape(1).repeat_interleave(2)
        rows = rows.replace(hand_visible=torch.tensor([[True, False], [False, True]]))
        alone = [np.asarray(mask) for mask in hand_box_masks(rows, body, 200, 300)]
        (together,) = hand_box_masks(rows, body, 200, 300, people=True)
        assert (np.asarray(together) == np.maximum(*alone)).all() and not (alone[0] & alone[1]).any()
        assert np.array_equal(np.asarray(hand_box_masks(person, body, 200, 300)[0]), np.asarray(together))

    def test_box_of_a_hand_at_the_edge_ends_there(self, close_up, body):
        hands = close_up.replace(camera=close_up.camera + torch.tensor([0.0, 0.12, 0.0]))
        mask = np.asarray(hand_box_masks(hands, body, 100, 100)[0]) > 0
        assert box(mask)[2] == 99 and box(mask)[0] > 5

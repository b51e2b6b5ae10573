"""Ends of open meshes: watertight, straight, outside of the mesh that they close."""

from collections import Counter

import numpy as np
import pytest
import torch
import trimesh

from diffusers_handiffuser import HandParams
from diffusers_handiffuser.hands.body_arrays import HAND_JOINTS, dense_weights
from diffusers_handiffuser.rendering.caps import border_loops, close_ends, straighten_ends

TETRAHEDRON = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])


def tube(teeth: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A tube of radius 1 along z from 0 to 3, whose far border has teeth; open at both ends."""
    number = 12
    angle = torch.arange(number) * (2 * torch.pi / number)
    circle = torch.stack([angle.cos(), angle.sin()], -1)
    far = 3 - teeth * (torch.arange(number) % 2)
    vertices = torch.cat([torch.cat([circle, z[:, None]], 1) for z in (torch.zeros(number), far)])
    a = torch.arange(number)
    b = a.roll(-1)
    return vertices, torch.cat([torch.stack([a, b, b + number], 1), torch.stack([a, b + number, a + number], 1)])


def edges(faces: torch.Tensor) -> Counter:
    return Counter((f[i], f[(i + 1) % 3]) for f in faces.tolist() for i in range(3))


def assert_watertight(vertices: torch.Tensor, faces: torch.Tensor) -> None:
    """Every edge belongs to two faces, which run along it in opposite directions, and the mesh has an inside."""
    count = edges(faces)
    assert set(count.values()) == {1} and all((b, a) in count for a, b in count)
    mesh = trimesh.Trimesh(vertices.double().numpy(), faces.numpy(), process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.is_volume and mesh.volume > 0
    assert mesh.area_faces.min() > 0


@pytest.fixture(scope="module")
def hands(body):
    """Vertices `(4, V, 3)` of bent and turned left hands."""
    generator = torch.Generator().manual_seed(0)
    rows = HandParams.zeros(4).replace(
        left_hand_pose=0.4 * torch.randn(4, 45, generator=generator),
        body_pose=0.4 * torch.randn(4, 63, generator=generator),
        global_orient=torch.randn(4, 3, generator=generator),
    )
    return body(rows).left_vertices


class TestBorderLoops:
    def test_closed_mesh_has_none(self, body):
        assert border_loops(TETRAHEDRON) == [] == border_loops(body.faces)

    def test_runs_as_the_faces_do(self):
        (loop,) = border_loops(TETRAHEDRON[:3])
        assert loop[loop.index(0) :] + loop[: loop.index(0)] == [0, 2, 3]

    def test_hand_has_one(self, body):
        (loop,) = border_loops(body.left_faces)
        count = edges(body.left_faces)
        steps = set(zip(loop, [*loop[1:], loop[0]], strict=True))
        assert len(set(loop)) == len(loop) and steps == {edge for edge in count if edge[::-1] not in count}

    def test_border_that_touches_itself_is_cut_there(self):
        loops = border_loops(torch.tensor([[0, 1, 2], [2, 3, 4]]))
        assert sorted(map(sorted, loops)) == [[0, 1, 2], [2, 3, 4]]

    def test_no_faces(self):
        assert border_loops(torch.empty(0, 3, dtype=torch.long)) == []


class TestStraightenEnds:
    def test_teeth_are_filled_up_to_a_plane(self):
        vertices, _, cuts = straighten_ends(*tube(teeth=0.5))
        bottom, top = sorted((vertices[cut] for cut in cuts), key=lambda points: float(points[0, 2]))
        assert len(cuts) == 2 and len(vertices) == 48
        torch.testing.assert_close(bottom[:, 2], torch.full((12,), -0.002))
        torch.testing.assert_close(top[:, 2], torch.full((12,), 3.002))
        torch.testing.assert_close(top[:, :2].norm(dim=1), torch.ones(12))

    def test_wrist_is_a_plane_beyond_all_teeth(self, hands, body):
        for hand in hands:
            vertices, _, (cut,) = straighten_ends(hand, body.left_faces)
            points = vertices[cut].double()
            centre = points.mean(0)
            _, spread, axes = torch.linalg.svd(points - centre)
            assert spread[2] < 1e-6 < 1e-2 < spread[1]
            outward = axes[2] * torch.sign((centre - hand.double().mean(0)) @ axes[2])
            border = hand[border_loops(body.left_faces)[0]].double()
            assert -0.0021 < ((border - centre) @ outward).max() < -0.0019


class TestCloseEnds:
    def test_hand_is_watertight(self, hands, body):
        vertices, faces = close_ends(hands, body.left_faces)
        for hand in vertices:
            assert_watertight(hand, faces)
        assert torch.equal(vertices[:, : hands.shape[1]], hands)
        assert torch.equal(faces[: len(body.left_faces)], body.left_faces)

    def test_rows_do_not_depend_on_each_other(self, hands, body):
        together, _ = close_ends(hands, body.left_faces)
        for hand, expected in zip(hands, together, strict=True):
            torch.testing.assert_close(close_ends(hand, body.left_faces)[0], expected, rtol=0, atol=1e-7)

    def test_ends_are_short_and_at_the_wrist(self, hands, body):
        """Two centimetres of teeth and a lid, whose middle stands out."""
        vertices, _ = close_ends(hands, body.left_faces)
        border = hands[:, border_loops(body.left_faces)[0]]
        for points, end in zip(border, vertices[:, hands.shape[1] :], strict=True):
            assert torch.cdist(end, points).amin(1).max() < 0.045

    @pytest.mark.parametrize("teeth", [0.0, 0.5])
    def test_tube(self, teeth):
        vertices, faces = close_ends(*tube(teeth))
        assert_watertight(vertices, faces)
        prism, lid = 3 * np.sin(np.pi / 6), np.pi * 0.25 * 2 / 3  # of half an ellipsoid
        volume = trimesh.Trimesh(vertices.numpy(), faces.numpy(), process=False).volume
        assert volume == pytest.approx(6 * prism + 2 * lid, rel=0.05)
        assert vertices[:, 2].amin() == pytest.approx(-0.252) and vertices[:, 2].amax() == pytest.approx(3.252)

    def test_closed_mesh_stays_as_it_is(self):
        vertices = torch.randn(4, 3)
        closed, faces = close_ends(vertices, TETRAHEDRON)
        assert torch.equal(closed, vertices) and torch.equal(faces, TETRAHEDRON)

    def test_several_borders(self, body):
        """A body without hands ends in two wrists."""
        weights = dense_weights(body)
        hand = (weights[:, [*HAND_JOINTS[0], *HAND_JOINTS[1]]].sum(1) > 0.5)[body.faces].all(1)
        vertices = body.full_mesh(HandParams.zeros()).vertices
        assert len(border_loops(body.faces[~hand])) == 2
        closed, faces = close_ends(vertices, body.faces[~hand])
        assert_watertight(closed[faces.unique()], torch.searchsorted(faces.unique(), faces))

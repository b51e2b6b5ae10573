"""Framing, measured on the projected body: what is inside the image, and how large the hands are."""

import pytest
import torch

from diffusers_handiffuser import HandParams
from diffusers_handiffuser.hands import frame_hands
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.hands.camera import project_weak_perspective, square_to_pixels
from diffusers_handiffuser.hands.framing import FRAMINGS
from diffusers_handiffuser.hands.skeleton import JOINT_NAMES
from diffusers_handiffuser.studio.scenes import pose_scenes, sample_scene

SIZES = [(512, 512), (512, 2048), (2048, 512), (1024, 1536), (768, 640)]
"""Width and height."""


@pytest.fixture(scope="module")
def body():
    return procedural_body()


@pytest.fixture(scope="module")
def people(body):
    """Nine rows with one or two visible hands, three of them turned downwards or sideways."""
    kinds = ["close_up", "two_hands", "person"]
    scenes = [sample_scene(3, "train", i, kind) for i, kind in enumerate(kinds * 2)]
    scenes += [sample_scene(3, "train", 9, "person", turn=turn) for turn in ("down", "sideways")]
    rows = pose_scenes(scenes, body)
    apart = HandParams.zeros(1).replace(
        global_orient=torch.tensor([[torch.pi, 0.0, 0.0]]), hand_visible=torch.ones(1, 2, dtype=torch.bool)
    )
    return HandParams.cat([rows, apart])


def hand_joints(body, rows, width, height):
    """Joints of the visible hands in pixels, a list with `(N, 2)` for each row."""
    joints = square_to_pixels(body(rows).joints_2d, height, width)
    return [points[visible].flatten(0, 1) for points, visible in zip(joints, rows.hand_visible, strict=True)]


def hand_meshes(body, rows, width, height):
    """The same for their vertices."""
    geometry = body(rows)
    meshes = torch.stack([geometry.left_vertices, geometry.right_vertices], 1)
    points = project_weak_perspective(meshes.flatten(1, 2), rows.camera).unflatten(1, (2, -1))
    pixels = square_to_pixels(points, height, width)
    return [hand[visible].flatten(0, 1) for hand, visible in zip(pixels, rows.hand_visible, strict=True)]


def mesh_and_joints(body, rows, width, height):
    mesh = body.full_mesh(rows)
    pixels = [
        square_to_pixels(project_weak_perspective(points, rows.camera), height, width)
        for points in (mesh.vertices, mesh.joints)
    ]
    names = {name: pixels[1][:, joint] for joint, name in enumerate(JOINT_NAMES)}
    return pixels[0], names


def inside(points, width, height):
    return bool(((points > 0) & (points < torch.tensor([width, height]))).all())


def largest(points):
    return float((points.amax(0) - points.amin(0)).max())


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_what_the_name_says_is_inside(body, people, framing, width, height):
    framed = frame_hands(people, framing, height, width)
    for i, points in enumerate(hand_meshes(body, framed, width, height)):
        assert inside(points, width, height), i
        middle = torch.tensor([width, height]) / 2
        assert ((points - middle).abs() <= min(width, height) / 2).all(), f"{i}: outside the square"
    vertices, joints = mesh_and_joints(body, framed, width, height)
    if framing == "full_body":
        assert inside(vertices, width, height)
    if framing == "waist_up":
        assert inside(torch.stack([joints[name] for name in ("head", "neck", "left_hip", "right_hip")]), width, height)
        tops = vertices.gather(1, vertices[..., 1:].argmin(1, keepdim=True).expand(-1, 1, 2))
        assert inside(tops, width, height), "the top of a head, or of a raised hand"


def test_only_the_camera_moves(people):
    for framing in FRAMINGS:
        framed = frame_hands(people, framing, 512, 768)
        for name in set(HandParams.FIELDS) - {"camera"}:
            assert torch.equal(getattr(framed, name), getattr(people, name)), name
        assert not torch.isclose(framed.camera, people.camera).all(-1).any()


def test_the_nearer_the_larger(body, people):
    def sizes(framing, width, height):
        rows = frame_hands(people, framing, height, width)
        return torch.tensor([largest(points) for points in hand_joints(body, rows, width, height)])

    people = people[:-1]  # but for arms spread wide, which fill the image always
    far, middle, near = (sizes(framing, 1024, 1024) for framing in reversed(FRAMINGS))
    assert (1.6 * far < middle).all() and (1.2 * middle < near).all()
    lone = people.hand_visible.sum(-1) == 1
    assert (far[lone] > 80).all() and (middle[lone] > 160).all() and (near[lone] > 600).all()


@pytest.mark.parametrize("framing", ["close_up", "full_body"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_as_large_as_possible(body, people, framing, width, height):
    """Nearer by the margin and a little more, something is cut off, unless a close-up is as near as it gets."""
    framed = frame_hands(people, framing, height, width)
    nearer = framed.replace(camera=framed.camera * torch.tensor([1.02 / 0.9, 1.0, 1.0]))
    vertices, _ = mesh_and_joints(body, nearer, width, height)
    for i, points in enumerate(hand_meshes(body, nearer, width, height)):
        in_square = points.sub(torch.tensor([width, height]) / 2).abs().max() < min(width, height) / 2
        in_image = inside(points if framing == "close_up" else vertices[i], width, height)
        closest = framing == "close_up" and float(framed.camera[i, 0]) == pytest.approx(7.5)
        assert closest or not (in_square and in_image), i


def test_camera_beforehand_does_not_matter(people):
    moved = people.replace(camera=people.camera * torch.tensor([0.3, -2.0, 0.5]) + torch.tensor([0.0, 0.4, -0.7]))
    for framing in FRAMINGS:
        expected = frame_hands(people, framing, 384, 640).camera
        torch.testing.assert_close(frame_hands(moved, framing, 384, 640).camera, expected, atol=2e-4, rtol=1e-4)


def test_mirrored_people_are_framed_alike(body, people):
    for framing in FRAMINGS:
        one, other = (frame_hands(rows, framing, 512, 512).camera for rows in (people, people.mirror()))
        torch.testing.assert_close(one, other * torch.tensor([1.0, -1.0, 1.0]), atol=4e-3, rtol=4e-3)


def test_rows_do_not_depend_on_each_other(people):
    grid = people[:4].reshape(2, 2)
    assert frame_hands(grid, "waist_up", 512, 512).batch_shape == (2, 2)
    together = frame_hands(grid, "waist_up", 512, 512).reshape(-1).camera
    alone = torch.stack([frame_hands(row, "waist_up", 512, 512).camera for row in people[:4]])
    torch.testing.assert_close(together, alone)


class TestWithoutVisibleHands:
    def test_a_close_up_keeps_its_camera(self, people):
        hidden = people.replace(hand_visible=people.hand_visible & (torch.arange(len(people)) != 1)[:, None])
        framed = frame_hands(hidden, "close_up", 512, 768)
        kept = (framed.camera == people.camera).all(-1)
        assert kept.tolist() == [i == 1 for i in range(len(people))]

    @pytest.mark.parametrize("framing", ["waist_up", "full_body"])
    def test_people_are_framed_without_them(self, body, people, framing):
        hidden = people.replace(hand_visible=torch.zeros_like(people.hand_visible))
        _, joints = mesh_and_joints(body, frame_hands(hidden, framing, 512, 512), 512, 512)
        assert inside(torch.stack([joints[name] for name in ("head", "left_hip", "right_hip")]), 512, 512)


class TestPeopleOfOneImage:
    @pytest.mark.parametrize("framing", FRAMINGS)
    def test_keep_their_places(self, body, people, framing):
        """In pixels, all points of all people move by one enlargement and one shift."""
        group = people[:3].replace(camera=torch.tensor([[0.4, -1.0, 0.1], [0.5, 0.3, 0.0], [0.3, 1.5, -0.2]]))
        framed = frame_hands(group, framing, 512, 1024, people=True)
        before, after = (body(rows).joints_2d.flatten(0, 2).double() for rows in (group, framed))
        zoom = (framed.camera / group.camera)[0, 0].double()
        shift = after - zoom * before
        torch.testing.assert_close(shift, shift[:1].expand_as(shift), atol=1e-4, rtol=0)
        for points in hand_joints(body, framed, 1024, 512):
            assert inside(points, 1024, 512)
        if framing == "full_body":
            assert inside(mesh_and_joints(body, framed, 1024, 512)[0], 1024, 512)

    def test_one_person_is_framed_as_alone(self, people):
        for framing in FRAMINGS:
            alone = frame_hands(people[:1], framing, 512, 640)
            assert torch.equal(frame_hands(people[:1], framing, 512, 640, people=True).camera, alone.camera)

    def test_one_without_hands_moves_with_the_others(self, people):
        pair = people[:2].replace(hand_visible=torch.tensor([[True, True], [False, False]]))
        framed = frame_hands(pair, "close_up", 512, 512, people=True)
        zoom = framed.camera[:, 0] / pair.camera[:, 0]
        assert zoom[0] != 1
        torch.testing.assert_close(zoom[0], zoom[1])

    def test_nobody(self, people):
        for nobody in (people[:0], people[:0].reshape(2, 0)):
            assert frame_hands(nobody, "full_body", 512, 512, people=True).batch_shape == nobody.batch_shape

    def test_needs_a_batch_axis(self, people):
        with pytest.raises(ValueError, match="`people` needs a batch dimension"):
            frame_hands(people[0], "close_up", 512, 512, people=True)


def test_none_returns_the_hands(people):
    assert frame_hands(people, None, 512, 768) is people


@pytest.mark.parametrize("framing", ["closeup", "", 3])
def test_unknown_framing(people, framing):
    message = f"`framing` must be one of close_up, waist_up, full_body or None, got {framing!r}"
    with pytest.raises(ValueError, match=message):
        frame_hands(people, framing, 512, 512)


@pytest.mark.parametrize("side", [0, -8, 2.5, True, None])
def test_sides(people, side):
    for name in ("height", "width"):
        with pytest.raises(ValueError, match=f"`{name}` must be a whole number of at least 1 pixel, got {side!r}"):
            frame_hands(people, "close_up", **{"height": 512, "width": 512, name: side})

"""Depth, normals and masks, held against geometry that is known without drawing."""

import numpy as np
import pytest
import torch

from diffusers_handiffuser import HandParams
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.hands.camera import project_weak_perspective, square_to_pixels
from diffusers_handiffuser.hands.skeleton import JOINT_NAMES
from diffusers_handiffuser.rendering import surfaces
from diffusers_handiffuser.rendering.parts import PARTS, Surface, visible_surfaces
from diffusers_handiffuser.rendering.rasterizer import rasterize_exactly, vertex_normals
from diffusers_handiffuser.rendering.surfaces import draw_depth, draw_mask, draw_normal

DRAW = {"depth": draw_depth, "normal": draw_normal, "mask": draw_mask}
BACKGROUND = {"depth": 0, "normal": [128, 128, 255], "mask": 0}


def pixels(points, camera, height, width):
    return square_to_pixels(project_weak_perspective(points, camera), height, width)


def shown(kind, image) -> np.ndarray:
    """Which pixels `(H, W)` are not the background."""
    return (np.asarray(image).reshape(*image.size[::-1], -1) != BACKGROUND[kind]).any(-1)


def fragments(vertices, faces, camera, height, width):
    screen = torch.cat([pixels(vertices, camera, height, width), vertices[:, 2:]], -1)
    return rasterize_exactly(screen[None], faces, height, width)


def facing_away(vertices, faces) -> torch.Tensor:
    a, b, c = vertices[faces].unbind(1)
    return torch.linalg.cross(b - a, c - a)[:, 2] > 0


def turned(hands, body, *rotation) -> HandParams:
    """The close-up from another side, in the middle of the image."""
    hands = hands.replace(global_orient=torch.tensor(rotation))
    middle = body(hands).joints_3d[1].mean(0)
    return hands.replace(camera=torch.tensor([7.0, -float(middle[0]), -float(middle[1])]))


def plane(normal) -> Surface:
    """A square about the origin that covers a middle part of the image and faces along `normal`."""
    normal = torch.nn.functional.normalize(torch.tensor(normal), dim=0)
    xy = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    z = -(xy @ normal[:2]) / normal[2]
    faces = torch.tensor([[0, 3, 2], [0, 2, 1]])  # (b - a) x (c - a) points to the viewer
    return Surface(torch.cat([xy, z[:, None]], 1), faces, torch.tensor([True, True]))


@pytest.fixture
def draw_plane(monkeypatch):
    def draw(kind, normal, size=32):
        monkeypatch.setattr(surfaces, "visible_surfaces", lambda *_: iter([plane(normal)]))
        image = DRAW[kind](HandParams.zeros(1), procedural_body(), size, size)[0]
        return np.asarray(image).astype(int)

    return draw


class TestNormal:
    """Red is left, green is up, blue is front, from 0 to 255; the frame has x right, y down, z forward."""

    @pytest.mark.parametrize(
        "normal, color",
        [
            ([0.0, 0.0, -1.0], [128, 128, 255]),
            ([-0.6, 0.0, -0.8], [204, 128, 230]),
            ([0.6, 0.0, -0.8], [51, 128, 230]),
            ([0.0, -0.6, -0.8], [128, 204, 230]),
            ([0.0, 0.6, -0.8], [128, 51, 230]),
        ],
    )
    def test_planes(self, draw_plane, normal, color):
        image = draw_plane("normal", normal)
        assert np.abs(image[9:23, 9:23] - color).max() <= 1
        assert (image[:7] == [128, 128, 255]).all(), "the background faces the viewer"

    def test_hand(self, close_up, body):
        image = np.asarray(close_up.to_condition("normal", 128)).astype(float)
        mask = np.asarray(close_up.to_condition("mask", 128)) > 0
        assert (np.linalg.norm(image[mask] / 127.5 - 1, axis=-1) - 1 < 0.02).all(), "unit vectors"
        assert (image[mask][:, 2] >= 127).mean() > 0.98, "what shows faces the viewer, but for rims"
        top = [image[:, x][mask[:, x]][0, 1] for x in range(128) if mask[:, x].any()]
        bottom = [image[:, x][mask[:, x]][-1, 1] for x in range(128) if mask[:, x].any()]
        assert np.mean(top) > 160 and np.mean(bottom) < 95, "upper rims look up, lower ones down"


class TestDepth:
    def test_linear_between_nearest_and_farthest(self, draw_plane):
        """A plane that recedes to the right: brightness falls linearly from 255 to 51."""
        image = draw_plane("depth", [0.5, 0.0, -1.0])
        assert (image[..., 0] == image[..., 2]).all()
        row = image[16, :, 0]
        inside = row[row > 0]
        assert len(inside) == 16 and inside[0] == 255 and inside[-1] == 51
        np.testing.assert_allclose(inside, np.linspace(255, 51, 16), atol=1)

    def test_flat_is_white(self, draw_plane):
        assert set(np.unique(draw_plane("depth", [0.0, 0.0, -1.0]))) == {0, 255}

    def test_nearer_hand_is_brighter(self, person):
        """Turned about the vertical, the person's left hand comes towards the viewer."""
        turned = person.replace(global_orient=torch.tensor([torch.pi * 0.95, 0.0, -0.9]))
        vertices = procedural_body()(turned)
        assert vertices.left_vertices[:, 2].max() < vertices.right_vertices[:, 2].min()
        depth = np.asarray(turned.to_condition("depth", 256))[..., 0]
        left, right = (
            np.asarray(turned.replace(hand_visible=torch.tensor(shown)).to_condition("mask", 256)) > 0
            for shown in ([True, False], [False, True])
        )
        assert depth[left].min() > depth[right].max() and depth[right].min() == 51 and depth[left].max() == 255
        assert (depth[~left & ~right] == 0).all()


class TestMask:
    def test_is_the_silhouette(self, close_up):
        """A pixel is white if its centre lies in any triangle of the closed hand, seen from either side."""
        size = 40
        mask = np.asarray(close_up.to_condition("mask", size)) > 0
        hand = next(visible_surfaces(close_up, procedural_body()))
        corners = pixels(hand.vertices, close_up.camera, size, size)[hand.faces].double().numpy()
        y, x = np.mgrid[:size, :size] + 0.5
        expected = np.zeros((size, size), bool)
        for a, b, c in corners:
            sides = [(q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0]) for p, q in ((a, b), (b, c), (c, a))]
            expected |= np.all([s > 0 for s in sides], 0) | np.all([s < 0 for s in sides], 0)
        assert 100 < expected.sum() < size * size / 2
        assert (mask != expected).sum() <= 2, "but for centres on an edge"

    def test_margin_is_at_the_hands_scale(self, close_up, body):
        """0.01 m at 7 per metre in a square of 100 pixels: 3.5 pixels, so 4 on each side."""
        bare, wide = (np.asarray(draw_mask(close_up, body, 100, 100, margin)[0]) > 0 for margin in (0.0, 0.01))
        rows = [np.flatnonzero(mask.any(1)) for mask in (bare, wide)]
        columns = [np.flatnonzero(mask.any(0)) for mask in (bare, wide)]
        assert rows[1][0] == rows[0][0] - 4 and rows[1][-1] == rows[0][-1] + 4
        assert columns[1][0] == columns[0][0] - 4 and wide[bare].all()
        assert (np.asarray(draw_mask(close_up, body, 20, 20, 100.0)[0]) == 255).all()

    def test_margin_of_people_is_at_the_scale_of_each(self, close_up, body):
        far = close_up.replace(camera=close_up.camera * torch.tensor([0.5, 1.0, 1.0]) + torch.tensor([0.0, 0.1, 0.1]))
        people = HandParams.cat([close_up.reshape(1), far.reshape(1)])
        alone = [np.asarray(mask) for mask in draw_mask(people, body, 60, 60, 0.01)]
        together = draw_mask(people, body, 60, 60, 0.01, people=True)
        assert len(together) == 1 and (np.asarray(together[0]) == np.maximum(*alone)).all()


class TestWrist:
    """Hands are closed and straight at the wrist, and the hand itself is drawn as if they were not."""

    VIEWS = ((1.2, 0.0, 0.0), (0.3, 0.4, -1.2), (2.5, 1.0, 1.0), (0.0, 0.9, 0.0))

    @pytest.mark.parametrize("view", VIEWS)
    def test_nothing_is_seen_from_inside(self, close_up, body, view):
        hands = turned(close_up, body, *view)
        hand = next(visible_surfaces(hands, body))
        seen = fragments(hand.vertices, hand.faces, hands.camera, 200, 200)
        # A pixel's centre may just miss the front face at an outline.
        assert facing_away(hand.vertices, hand.faces)[seen.face].float().mean() < 0.002

    @pytest.mark.parametrize("view", VIEWS)
    @pytest.mark.parametrize("kind", ["depth", "normal"])
    def test_the_skin_is_drawn_as_that_of_an_open_hand(self, close_up, body, kind, view):
        hands, size = turned(close_up, body, *view), 200
        vertices, faces = body(hands).right_vertices, body.right_faces
        hand = next(visible_surfaces(hands, body))
        seen = fragments(hand.vertices, hand.faces, hands.camera, size, size)
        skin = hand.skin[seen.face]
        assert skin.float().mean() > 0.6 and not skin.all()
        bare = fragments(vertices, faces, hands.camera, size, size)
        if kind == "depth":
            depth = seen.depth.flatten()[seen.pixel][skin]
            expected = 255 - 204 * (bare.depth.flatten() - depth.min()) / (depth.max() - depth.min())
        else:
            expected = torch.zeros(size * size, 3)
            normals = bare.interpolate(vertex_normals(vertices[None], faces), faces)
            expected[bare.pixel] = 127.5 * (1 - torch.nn.functional.normalize(normals, dim=-1))
        image = np.asarray(DRAW[kind](hands, body, size, size)[0]).reshape(size * size, 3)
        place = seen.pixel[skin]
        assert (image[place] == expected[place].round().byte().view(len(place), -1).numpy()).all()

    def test_ends_of_depth_are_no_darker_and_no_lighter_than_skin(self, close_up, body):
        """A hand that points away: its lid is nearest."""
        away = turned(close_up, body, 0.0, 1.4, 0.0)
        hand = next(visible_surfaces(away, body))
        seen = fragments(hand.vertices, hand.faces, away.camera, 200, 200)
        depth = np.asarray(away.to_condition("depth", 200))[..., 0].flatten()
        end = depth[seen.pixel[~hand.skin[seen.face]]]
        assert len(end) > 100 and end.min() >= 51 and depth[seen.pixel].min() == 51 and depth.max() == 255


class TestParts:
    @pytest.fixture
    def masks(self, person):
        both = ("hands",), ("forearms",), ("body",), ("hands", "forearms"), ("hands", "body"), PARTS
        return {parts: np.asarray(person.to_condition("mask", 200, parts=parts)) > 0 for parts in both}

    def test_hands_and_forearms_add_up(self, masks):
        together = masks[("hands",)] | masks[("forearms",)]
        assert (masks[("hands", "forearms")] & ~together).sum() <= 4, "no seam between them, but for outlines"
        assert (together & ~masks[("hands", "forearms")]).sum() <= 4, "the ends of each lie inside the other"
        assert (masks[PARTS] == masks[("hands", "body")]).all(), "forearms are of the body"

    def test_each_lies_where_its_joints_are(self, person, body, masks):
        points = pixels(body.full_mesh(person).joints, person.camera, 200, 200)
        joint = dict(zip(JOINT_NAMES, points, strict=True))
        places = {
            "hands": joint["left_middle1"],
            "forearms": (joint["right_elbow"] + joint["right_wrist"]) / 2,
            "body": joint["spine3"],
        }
        for part, (x, y) in ((part, place.int().tolist()) for part, place in places.items()):
            for parts, mask in masks.items():
                assert mask[y, x] == (part in parts or (part == "forearms" and "body" in parts))

    @pytest.mark.parametrize("kind", ["depth", "normal"])
    def test_whole_body_has_no_seams(self, person, body, kind):
        mesh = body.full_mesh(person)
        seen = fragments(mesh.vertices, mesh.faces, person.camera, 100, 100)
        if kind == "depth":
            depth = seen.depth.flatten()[seen.pixel][:, None].expand(-1, 3)
            colors = 255 - 204 * (depth - depth.min()) / (depth.max() - depth.min())
        else:
            normals = seen.interpolate(vertex_normals(mesh.vertices[None], mesh.faces), mesh.faces)
            colors = 127.5 * (1 - torch.nn.functional.normalize(normals, dim=-1))
        image = np.asarray(person.to_condition(kind, 100, parts=("body", "hands")))
        assert (image.reshape(-1, 3)[seen.pixel] == colors.round().byte().numpy()).all()
        assert shown(kind, person.to_condition(kind, 100, parts=("body", "hands"))).sum() == len(seen.pixel)

    def test_forearms_are_of_visible_hands_and_hidden_hands_are_left_out(self, person, body):
        left = person.replace(hand_visible=torch.tensor([True, False]))
        forearm = np.asarray(left.to_condition("mask", 200, parts=("hands", "forearms"))) > 0
        assert forearm[:, 100:].sum() > 100 and not forearm[:, :100].any()
        whole = np.asarray(left.to_condition("mask", 200, parts=("hands", "body"))) > 0
        hand, elbow = (
            pixels(body(left).joints_3d[1, 9:10], left.camera, 200, 200)[0].int().tolist(),
            pixels(body.full_mesh(left).joints, left.camera, 200, 200)[JOINT_NAMES.index("right_elbow")]
            .int()
            .tolist(),
        )
        assert whole[elbow[1], elbow[0]] and not whole[hand[1], hand[0]]


class TestPeople:
    @pytest.fixture
    def pair(self, close_up, body):
        """A flat hand and, at a slightly smaller scale, one that is turned about the forearm and passes through it."""
        pose = close_up.body_pose.clone()
        pose[60] = 1.2  # the right wrist
        second = close_up.replace(body_pose=pose)
        middle = body(second).joints_3d[1].mean(0)
        return HandParams.cat(
            [close_up.reshape(1), second.replace(camera=torch.tensor([6.6, -middle[0], -middle[1]])).reshape(1)]
        )

    def test_nearer_surfaces_hide_farther_ones(self, pair, body):
        """Depth is metres times the scale of each camera."""
        depths, normals, size = [], [], 120
        for row in pair:
            hand = next(visible_surfaces(row, body))
            seen = fragments(hand.vertices, hand.faces, row.camera, size, size)
            depths.append(seen.depth.flatten() * row.camera[0])
            normals.append(np.asarray(row.to_condition("normal", size)).reshape(-1, 3))
        first, second = depths[0] < depths[1], depths[1] < depths[0]
        crossing = depths[0].isfinite() & depths[1].isfinite()
        assert (first & crossing).sum() > 50 and (second & crossing).sum() > 50
        together = np.asarray(pair.to_condition("normal", size, people=True)).reshape(-1, 3)
        for mine, nearer in zip(normals, (first, second), strict=True):
            assert (together[nearer] == mine[nearer]).all()

        image = np.asarray(pair.to_condition("depth", size, people=True))[..., 0].reshape(-1)
        nearest = torch.minimum(*depths)
        order = nearest[nearest.isfinite()].argsort()
        assert (np.diff(image[nearest.isfinite().numpy()][order].astype(int)) <= 0).all()

    @pytest.mark.parametrize("kind", DRAW)
    def test_order_does_not_matter(self, pair, kind):
        one, other = (np.asarray(rows.to_condition(kind, 120, people=True)) for rows in (pair, pair[[1, 0]]))
        different = np.abs(one.astype(int) - other)
        assert (different > 1).sum() <= 6, "but for rounding where two surfaces meet"

    @pytest.mark.parametrize("kind", DRAW)
    def test_one_person_is_drawn_as_alone(self, person, kind):
        alone, people = person.to_condition(kind, 64), person.reshape(1).to_condition(kind, 64, people=True)
        assert alone.tobytes() == people.tobytes()

    @pytest.mark.parametrize("kind", DRAW)
    def test_other_axes_are_images(self, pair, kind, body):
        stacked = HandParams.cat([pair.reshape(1, 2), pair.reshape(1, 2)])
        images = stacked.to_condition(kind, 40, people=True)
        assert [image.tobytes() for image in images] == [pair.to_condition(kind, 40, people=True).tobytes()] * 2
        nobody = DRAW[kind](pair[:0], body, 40, 40, people=True)
        assert [shown(kind, image).any() for image in nobody] == [False]


class TestSize:
    @pytest.mark.parametrize("size", [(256, 2048), (2048, 256), (1024, 1536), (640, 384)])
    def test_hands_outside_the_centred_square_lie_where_they_project(self, close_up, body, size):
        """A hand near the end of the longer side, small enough to fit there."""
        width, height = size
        place = torch.tensor([width - 110.0, height / 2] if width > height else [width / 2, height - 110.0])
        wanted = (place - torch.tensor([width, height]) / 2) / (min(size) / 2)  # (u, v), outside [-1, 1]
        scale = 7.0 * 200 / min(size)
        middle = body(close_up).joints_3d[1].mean(0)[:2]
        hands = close_up.replace(camera=torch.cat([torch.tensor([scale]), wanted / scale - middle]))
        assert wanted.abs().max() > 1

        hand = next(visible_surfaces(hands, body))
        points = pixels(hand.vertices, hands.camera, height, width)
        images = {kind: hands.to_condition(kind, size) for kind in DRAW}
        assert {image.size for image in images.values()} == {size}
        mask = shown("mask", images["mask"])
        for axis, low, high in zip((1, 0), points.amin(0), points.amax(0), strict=True):
            covered = np.flatnonzero(mask.any(1 - axis))
            assert abs(covered[0] + 0.5 - low) <= 1.5 and abs(covered[-1] + 0.5 - high) <= 1.5
        joints = body(hands).joints_3d[1, [k for k in range(21) if k == 0 or k % 4]]  # fingertips are of the skin
        for x, y in pixels(joints, hands.camera, height, width).int().tolist():
            assert mask[y, x]
        assert (shown("depth", images["depth"]) == mask).all()
        assert (shown("normal", images["normal"]) & ~mask).sum() == 0


@pytest.mark.parametrize("kind", ["depth", "depth_hand"])
def test_no_cracks_in_a_large_image(close_up, kind):
    """No single pixel shows what is behind its neighbours."""
    image = np.asarray(close_up.to_condition(kind, 1536))[..., 0].astype(int)
    around = np.stack([np.roll(image, step, axis) for axis in (0, 1) for step in (-1, 1)]).min(0)
    assert (image > 0).sum() > 20_000
    assert not ((around > 0) & (image < around - 20)).any()

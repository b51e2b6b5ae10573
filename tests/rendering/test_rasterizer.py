import math

import pytest
import torch

from diffusers_handiffuser.rendering.rasterizer import rasterize, vertex_normals

HEIGHT, WIDTH = 12, 17


def triangle_soup(batch: int, triangles: int, seed: int = 0):
    """Triangles that share no corner, some of them reaching out of the picture."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor([WIDTH * 1.4, HEIGHT * 1.4, 1.0], dtype=torch.float64)
    corners = torch.rand(batch, 3 * triangles, 3, generator=generator, dtype=torch.float64)
    screen = corners * size - torch.tensor([0.2 * WIDTH, 0.2 * HEIGHT, 0.0], dtype=torch.float64)
    return screen, torch.arange(3 * triangles).view(triangles, 3)


def twin(screen, faces, height, width, cull_backfaces):
    """`(H, W)` nearest face (-1: none), depths and barycentric coordinates of one picture, pixel after pixel."""
    nearest = [[(-1, math.inf, None)] * width for _ in range(height)]
    points = screen.tolist()
    for number, face in enumerate(faces.tolist()):
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = (points[v] for v in face)
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0 or (cull_backfaces and area > 0):
            continue
        for row in range(height):
            for column in range(width):
                x, y = column + 0.5, row + 0.5
                a = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                b = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                c = 1 - a - b
                if min(a, b, c) < 0:
                    continue
                depth = a * az + b * bz + c * cz
                if depth < nearest[row][column][1]:
                    nearest[row][column] = (number, depth, (a, b, c))
    return nearest


def maps(fragments, batch, height=HEIGHT, width=WIDTH):
    """Fragments laid out over their pictures: `(B, H, W)` faces, -1 where there is none."""
    faces = torch.full((batch * height * width,), -1)
    faces[fragments.pixel] = fragments.face
    return faces.view(batch, height, width)


@pytest.mark.parametrize("cull_backfaces", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_a_loop_over_pixels(seed, cull_backfaces):
    screen, faces = triangle_soup(2, 10, seed)
    seen = rasterize(screen, faces, HEIGHT, WIDTH, cull_backfaces)
    found = maps(seen, 2)
    barycentric = torch.zeros(2 * HEIGHT * WIDTH, 3, dtype=torch.float64)
    barycentric[seen.pixel] = seen.barycentric
    for image in range(2):
        expected = twin(screen[image], faces, HEIGHT, WIDTH, cull_backfaces)
        for row in range(HEIGHT):
            for column in range(WIDTH):
                face, depth, weights = expected[row][column]
                assert found[image, row, column] == face
                assert seen.depth[image, row, column].item() == pytest.approx(depth)
                if face >= 0:
                    place = (image * HEIGHT + row) * WIDTH + column
                    assert barycentric[place].tolist() == pytest.approx(weights, abs=1e-9)


def test_the_image_of_a_fragment_is_its_batch_row():
    seen = rasterize(*triangle_soup(3, 10), HEIGHT, WIDTH)
    assert torch.equal(seen.image, seen.pixel // (HEIGHT * WIDTH))
    assert torch.equal(seen.image.unique(), torch.arange(3))
    assert torch.equal(seen.pixel, seen.pixel.unique()), "no pixel twice"


def test_depth_is_infinite_where_nothing_is():
    seen = rasterize(*triangle_soup(2, 4), HEIGHT, WIDTH)
    covered = torch.zeros(2 * HEIGHT * WIDTH, dtype=torch.bool)
    covered[seen.pixel] = True
    assert torch.equal(torch.isfinite(seen.depth).flatten(), covered)


def square(depth: float, face_viewer: bool = True):
    """Two triangles over the whole picture, counter-clockwise as the viewer sees them (y down)."""
    corners = torch.tensor([[0.0, 0.0], [0.0, HEIGHT], [WIDTH, HEIGHT], [WIDTH, 0.0]])
    screen = torch.cat([corners, torch.full((4, 1), depth)], -1)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    return screen, faces if face_viewer else faces.flip(1)


class TestVisibility:
    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_the_nearer_face_wins_whatever_the_order(self, order):
        near, faces = square(1.0)
        far, _ = square(2.0)
        screen = torch.cat([near, far])[None]
        both = torch.cat([(faces, faces + 4)[i] for i in order])
        seen = rasterize(screen, both, HEIGHT, WIDTH)
        assert (seen.depth == 1.0).all()
        assert (both[seen.face] < 4).all()

    def test_faces_that_cross_are_cut_where_they_cross(self):
        flat, faces = square(1.0)
        slanted = flat.clone()
        slanted[:, 2] = torch.tensor([0.0, 0.0, 2.0, 2.0])
        seen = rasterize(torch.cat([flat, slanted])[None], torch.cat([faces, faces + 4]), HEIGHT, 16)
        slanted_in_front = maps(seen, 1, HEIGHT, 16)[0] >= 2
        assert slanted_in_front[:, :8].all() and not slanted_in_front[:, 9:].any()

    def test_faces_that_look_away_are_left_out_only_when_asked(self):
        screen, faces = square(1.0, face_viewer=False)
        assert len(rasterize(screen[None], faces, HEIGHT, WIDTH).pixel) == 0
        assert len(rasterize(screen[None], faces, HEIGHT, WIDTH, cull_backfaces=False).pixel) == HEIGHT * WIDTH

    def test_a_shared_edge_leaves_no_gap(self):
        screen, faces = square(1.0)
        assert len(rasterize(screen[None], faces, HEIGHT, WIDTH).pixel) == HEIGHT * WIDTH

    def test_ties_go_to_the_later_face(self):
        screen, faces = square(1.0)
        seen = rasterize(screen[None], torch.cat([faces, faces]), HEIGHT, WIDTH)
        assert (seen.face >= 2).all()

    def test_faces_without_area_are_left_out(self):
        screen = torch.tensor([[[1.0, 1.0, 1.0], [5.0, 5.0, 1.0], [9.0, 9.0, 1.0]]])
        for cull_backfaces in (True, False):
            seen = rasterize(screen, torch.tensor([[0, 1, 2]]), HEIGHT, WIDTH, cull_backfaces)
            assert len(seen.pixel) == 0

    def test_faces_outside_the_picture_are_left_out(self):
        screen, faces = square(1.0)
        for shift in (-100.0, 100.0):
            assert len(rasterize(screen[None] + shift, faces, HEIGHT, WIDTH).pixel) == 0


class TestBatch:
    def test_rows_do_not_depend_on_their_neighbours(self):
        screen, faces = triangle_soup(4, 12)
        together = rasterize(screen, faces, HEIGHT, WIDTH)
        for row in range(4):
            alone = rasterize(screen[row : row + 1], faces, HEIGHT, WIDTH)
            assert torch.equal(maps(alone, 1)[0], maps(together, 4)[row])
            assert torch.equal(alone.depth[0], together.depth[row])

    def test_no_faces_see_nothing(self):
        screen, _ = triangle_soup(2, 3)
        seen = rasterize(screen, torch.zeros(0, 3, dtype=torch.long), HEIGHT, WIDTH)
        assert len(seen.pixel) == 0 and torch.isinf(seen.depth).all()
        assert seen.depth.shape == (2, HEIGHT, WIDTH)
        assert seen.interpolate(screen, torch.zeros(0, 3, dtype=torch.long)).shape == (0, 3)

    def test_no_pictures_are_fine(self):
        screen, faces = triangle_soup(0, 3)
        assert rasterize(screen, faces, HEIGHT, WIDTH).depth.shape == (0, HEIGHT, WIDTH)


class TestInterpolation:
    def test_of_the_screen_itself_gives_pixel_centres_and_depth(self):
        screen, faces = triangle_soup(3, 10)
        seen = rasterize(screen, faces, HEIGHT, WIDTH)
        x, y, z = seen.interpolate(screen, faces).unbind(-1)
        place = seen.pixel % (HEIGHT * WIDTH)
        assert torch.allclose(x, (place % WIDTH).double() + 0.5, atol=1e-9)
        assert torch.allclose(y, (place // WIDTH).double() + 0.5, atol=1e-9)
        assert torch.allclose(z, seen.depth.flatten()[seen.pixel])

    def test_weights_are_a_partition_of_one(self):
        seen = rasterize(*triangle_soup(3, 10), HEIGHT, WIDTH)
        assert (seen.barycentric >= -1e-12).all()
        assert torch.allclose(seen.barycentric.sum(-1), torch.ones((), dtype=torch.float64))


class TestNormals:
    def test_point_out_of_a_cube(self):
        corners = torch.tensor([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
        hull = [(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1)]
        hull += [(2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)]
        normals = vertex_normals(corners[None], torch.tensor(hull))[0]
        assert torch.allclose(normals.norm(dim=-1), torch.ones(8))
        assert ((normals * corners).sum(-1) > 1).all()

    def test_of_a_flat_mesh_are_its_own(self):
        screen, faces = square(1.0)
        assert torch.allclose(vertex_normals(screen[None], faces)[0], torch.tensor([0.0, 0.0, -1.0]).expand(4, 3))

import json
import struct

import numpy as np
import pytest
import torch
import trimesh

from diffusers_handiffuser.hands import HandBodyModel, HandParams
from diffusers_handiffuser.rendering.mesh_export import write_glb, write_obj
from diffusers_handiffuser.rendering.meshes import HandMesh, visible_meshes

TETRAHEDRON = (
    torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]),
)


def tetrahedron(name: str) -> HandMesh:
    return HandMesh(name, *TETRAHEDRON, (0.1, 0.2, 0.3))


@pytest.fixture(scope="module")
def hands():
    """The two hands of a bent and turned person."""
    body = HandBodyModel.procedural()
    pose = 0.5 * torch.randn(45, generator=torch.Generator().manual_seed(0))
    params = HandParams.zeros().replace(
        left_hand_pose=pose,
        global_orient=torch.tensor([2.5, 0.3, 0.2]),
        hand_visible=torch.tensor([True, True]),
    )
    return next(visible_meshes(params, body))


def read_obj(path):
    """`{name: (vertices, faces, normals)}` with faces counted from the first vertex of their own object."""
    objects, first, read = {}, 1, 0
    for line in path.read_text(encoding="ascii").splitlines():
        word, *rest = line.split()
        if word == "o":
            vertices, faces, normals = objects[rest[0]] = ([], [], [])
            first += read
            read = 0
        elif word == "v":
            vertices.append([float(x) for x in rest])
            read += 1
        elif word == "vn":
            normals.append([float(x) for x in rest])
        elif word == "f":
            corners = [corner.split("//") for corner in rest]
            assert all(vertex == normal for vertex, normal in corners)
            faces.append([int(vertex) - first for vertex, _ in corners])
        else:
            assert word == "#"
    return {name: tuple(map(np.array, arrays)) for name, arrays in objects.items()}


def read_glb(path):
    """The JSON part, and `{name: (vertices, faces, colour, normals)}`, with every rule of the container checked."""
    data = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    chunks, place = {}, 12
    while place < length:
        size, kind = struct.unpack_from("<I4s", data, place)
        assert size % 4 == 0
        chunks[kind] = data[place + 8 : place + 8 + size]
        place += 8 + size
    assert place == length and list(chunks) in ([b"JSON"], [b"JSON", b"BIN\0"])
    gltf = json.loads(chunks[b"JSON"])
    assert gltf["asset"]["version"] == "2.0"
    if b"BIN\0" in chunks:
        assert gltf["buffers"] == [{"byteLength": len(chunks[b"BIN\0"])}]

    def values(index):
        accessor = gltf["accessors"][index]
        view = gltf["bufferViews"][accessor["bufferView"]]
        assert view["byteOffset"] % 4 == 0 and view["byteOffset"] + view["byteLength"] <= len(chunks[b"BIN\0"])
        dtype = {5126: "<f4", 5125: "<u4"}[accessor["componentType"]]
        assert view["target"] == {5126: 34962, 5125: 34963}[accessor["componentType"]]
        width = {"VEC3": 3, "SCALAR": 1}[accessor["type"]]
        count = accessor["count"] * width
        assert view["byteLength"] == 4 * count
        array = np.frombuffer(chunks[b"BIN\0"], dtype, count, view["byteOffset"]).reshape(-1, width)
        for bound, find in (("min", np.min), ("max", np.max)):
            if bound in accessor:
                assert find(array, 0).tolist() == accessor[bound]
        return array

    meshes = {}
    for number in gltf["scenes"][gltf["scene"]].get("nodes", []):
        node = gltf["nodes"][number]
        mesh = gltf["meshes"][node["mesh"]]
        (primitive,) = mesh["primitives"]
        assert "min" in gltf["accessors"][primitive["attributes"]["POSITION"]], "glTF requires bounds of positions"
        color = gltf["materials"][primitive["material"]]["pbrMetallicRoughness"]["baseColorFactor"]
        faces = values(primitive["indices"]).reshape(-1, 3)
        vertices, normals = (values(primitive["attributes"][name]) for name in ("POSITION", "NORMAL"))
        assert len(normals) == len(vertices)
        meshes[node["name"]] = (vertices, faces, color, normals)
    return gltf, meshes


def volume(vertices, faces) -> float:
    """Positive if faces turn counter-clockwise seen from outside."""
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    return float((np.cross(a, b) * c).sum() / 6)


def y_up(vertices: torch.Tensor) -> np.ndarray:
    return (vertices * torch.tensor([1.0, -1.0, -1.0])).numpy()


class TestObj:
    def test_parses_back(self, tmp_path, hands):
        write_obj(tmp_path / "hands.obj", hands)
        objects = read_obj(tmp_path / "hands.obj")
        assert list(objects) == [mesh.name for mesh in hands]
        for name, vertices, faces, _ in hands:
            assert abs(objects[name][0] - y_up(vertices)).max() < 1e-6
            assert (objects[name][1] == faces.numpy()).all()

    def test_is_turned_so_that_y_is_up_and_faces_still_look_outwards(self, tmp_path):
        write_obj(tmp_path / "x.obj", [tetrahedron("x")])
        vertices, faces, _ = read_obj(tmp_path / "x.obj")["x"]
        assert vertices.tolist() == [[0, 0, 0], [1, 0, 0], [0, -1, 0], [0, 0, -1]]
        assert volume(vertices, faces) == pytest.approx(1 / 6)


class TestGlb:
    def test_parses_back(self, tmp_path, hands):
        write_glb(tmp_path / "hands.glb", hands)
        _, meshes = read_glb(tmp_path / "hands.glb")
        assert list(meshes) == [mesh.name for mesh in hands]
        for name, vertices, faces, color in hands:
            assert (meshes[name][0] == y_up(vertices)).all()
            assert (meshes[name][1] == faces.numpy()).all()
            assert meshes[name][2] == [*color, 1.0]

    def test_agrees_with_obj(self, tmp_path, hands):
        write_obj(tmp_path / "hands.obj", hands)
        write_glb(tmp_path / "hands.glb", hands)
        objects, (_, meshes) = read_obj(tmp_path / "hands.obj"), read_glb(tmp_path / "hands.glb")
        for name, *_ in hands:
            assert np.allclose(objects[name][0], meshes[name][0], atol=1e-6)
            assert (objects[name][1] == meshes[name][1]).all()
            assert np.allclose(objects[name][2], meshes[name][3], atol=1e-6)

    def test_hands_look_outwards(self, tmp_path, hands):
        write_glb(tmp_path / "hands.glb", hands)
        for vertices, faces, *_ in read_glb(tmp_path / "hands.glb")[1].values():
            assert volume(vertices, faces) > 1e-4

    @pytest.mark.parametrize("name", ["x", "xy", "xyz", "wxyz"])
    def test_chunks_are_padded_whatever_the_length_of_the_text(self, tmp_path, name):
        write_glb(tmp_path / "x.glb", [tetrahedron(name)])
        assert list(read_glb(tmp_path / "x.glb")[1]) == [name]

    def test_no_mesh_makes_an_empty_scene(self, tmp_path):
        write_glb(tmp_path / "x.glb", [])
        gltf, meshes = read_glb(tmp_path / "x.glb")
        assert meshes == {} and "buffers" not in gltf

    def test_tensors_in_use_elsewhere_are_fine(self, tmp_path):
        """With gradients, in double precision, not contiguous."""
        vertices = TETRAHEDRON[0].double().T.contiguous().T.requires_grad_()
        mesh = HandMesh("x", vertices, TETRAHEDRON[1].flip(0), (0.1, 0.2, 0.3))
        write_glb(tmp_path / "x.glb", [mesh])
        write_obj(tmp_path / "x.obj", [mesh])
        assert volume(*read_glb(tmp_path / "x.glb")[1]["x"][:2]) == pytest.approx(1 / 6)


class TestSolids:
    """What other programs make of the files."""

    @pytest.mark.parametrize("suffix", ["glb", "obj"])
    def test_hands_are_watertight(self, tmp_path, hands, suffix):
        path = tmp_path / f"hands.{suffix}"
        (write_glb if suffix == "glb" else write_obj)(path, hands)
        solids = trimesh.load(path, force="mesh").split(only_watertight=True)
        assert len(solids) == 2
        for solid in solids:
            assert solid.is_watertight and solid.is_winding_consistent and solid.is_volume
            assert 1e-4 < solid.volume < 1e-3, "cubic metres"

    def test_normals_are_of_unit_length_and_look_outwards(self, tmp_path, hands):
        write_glb(tmp_path / "hands.glb", hands)
        for name, (vertices, faces, _, normals) in read_glb(tmp_path / "hands.glb")[1].items():
            np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
            theirs = trimesh.Trimesh(vertices, faces, process=False).vertex_normals
            agreement = (normals * theirs).sum(1)  # faces are weighted by their angles there, by their areas here
            assert agreement.min() > 0 and np.quantile(agreement, 0.01) > 0.9, name

    def test_vertex_without_a_face_has_a_normal(self, tmp_path):
        """Of length 1, as the format wants."""
        mesh = tetrahedron("x")
        write_glb(tmp_path / "x.glb", [mesh._replace(vertices=torch.cat([mesh.vertices, torch.ones(1, 3)]))])
        assert read_glb(tmp_path / "x.glb")[1]["x"][3][-1].tolist() == [0, 0, 1]

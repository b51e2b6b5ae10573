import copy
import json
import math
import sys
from types import SimpleNamespace

import accelerate
import numpy as np
import pytest
import torch
from made_up_body import fingertips_of, made_up_body, made_up_hands, merged, smplx_model
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file as save_tensors

from diffusers_handiffuser.hands.body_arrays import PROCEDURAL_BODY_FILE, body_sha256
from diffusers_handiffuser.hands.body_model import HandBodyModel
from diffusers_handiffuser.hands.camera import project_weak_perspective
from diffusers_handiffuser.hands.params import HandParams
from diffusers_handiffuser.hands.rotations import rotvec_to_rotmat
from diffusers_handiffuser.hands.skeleton import (
    FINGERTIP_VERTEX_IDS,
    MIRRORED_JOINTS,
    NUM_JOINTS,
    OPENPOSE_HAND_NAMES,
    PARENTS,
)

TOLERANCE = 1e-5
SMPLX_TIPS = [4, 8, 12, 16, 20]


def random_params(*shape: int, seed: int = 0, bend: float = 0.6) -> HandParams:
    generator = torch.Generator().manual_seed(seed)

    def normal(size, scale):
        return scale * torch.randn(*shape, size, generator=generator)

    camera = normal(3, 1.0)
    camera[..., 0] = camera[..., 0].abs() + 0.5
    return HandParams(
        global_orient=normal(3, 1.5),
        body_pose=normal(63, bend),
        left_hand_pose=normal(45, bend),
        right_hand_pose=normal(45, bend),
        betas=normal(10, 1.5),
        camera=camera,
        hand_visible=torch.rand(*shape, 2, generator=generator) > 0.5,
    )


def tensors_of(geometry) -> dict[str, torch.Tensor]:
    return dict(geometry.items())


def own_config(model) -> dict:
    """Without what diffusers adds, such as the class and the folder."""
    return {name: value for name, value in model.config.items() if not name.startswith("_")}


@pytest.fixture(scope="module")
def body() -> HandBodyModel:
    return HandBodyModel.procedural()


@pytest.fixture(scope="module")
def procedural_arrays(body, tmp_path_factory) -> dict[str, np.ndarray]:
    return dict(np.load(body.to_smplx(tmp_path_factory.mktemp("smplx"))))


def save_body(path, arrays):
    np.savez(path, **arrays)
    return path


def geometry_by_smplx(arrays, params, vertex_ids=None):
    """Hand joints `(..., 2, 21, 3)`, body joints and all vertices as `smplx` computes them, pelvis at the origin."""
    rows = params.reshape(-1)
    names = ("betas", "global_orient", "body_pose", "left_hand_pose", "right_hand_pose")
    with torch.no_grad():
        posed = smplx_model(arrays, vertex_ids)(
            **{name: getattr(rows, name).double() for name in names}, transl=torch.zeros(len(rows), 3).double()
        )
    joints, vertices = posed.joints - posed.joints[:, :1], posed.vertices - posed.joints[:, :1]
    hands = []
    for wrist, first, tips in ((20, 22, 57), (21, 37, 62)):
        hand = [joints[:, wrist]]
        for finger, tip in zip((4, 0, 1, 3, 2), range(5), strict=True):  # OpenPose's thumb to pinky in MANO's places
            hand += [joints[:, first + 3 * finger + k] for k in range(3)] + [joints[:, tips + tip]]
        hands.append(torch.stack(hand, 1))
    return torch.stack(hands, 1), joints[:, :NUM_JOINTS], vertices


@pytest.fixture(scope="module", params=["procedural", "procedural with pose directions", "made up"])
def case(request, body, procedural_arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("bodies") / "body.npz"
    if request.param == "procedural":
        return body, procedural_arrays, None
    if request.param == "procedural with pose directions":
        rng = np.random.default_rng(1)
        posedirs = rng.normal(0, 0.002, procedural_arrays["posedirs"].shape).astype(np.float32)
        arrays = {**procedural_arrays, "posedirs": posedirs}
        return HandBodyModel.from_smplh(save_body(path, arrays), licensed=False), arrays, None
    arrays, tips = merged(made_up_body(), made_up_hands()), fingertips_of(300)
    return HandBodyModel.from_smplh(save_body(path, arrays), vertex_ids=tips, licensed=False), arrays, tips


class TestAgreementWithSmplx:
    """Both the fast path for the hands and the whole body, against `smplx.SMPLH` on the same arrays."""

    @pytest.mark.parametrize("seed", range(3))
    def test_hands(self, case, seed):
        model, arrays, tips = case
        params = random_params(16, seed=seed)
        geometry = model(params)
        joints, _, vertices = geometry_by_smplx(arrays, params, tips)
        weights = torch.tensor(np.asarray(arrays["weights"], np.float32))
        assert (geometry.joints_3d - joints).abs().max() < TOLERANCE
        for side, own in (("left", [20, *range(22, 37)]), ("right", [21, *range(37, 52)])):
            expected = vertices[:, weights[:, own].sum(1) > 0.5]
            assert geometry[f"{side}_vertices"].shape == expected.shape
            assert (geometry[f"{side}_vertices"] - expected).abs().max() < TOLERANCE

    @pytest.mark.parametrize("bend", [0.0, 0.6, 2.0])
    def test_whole_body(self, case, bend):
        model, arrays, tips = case
        # The bones of the made-up body are metres long.
        tolerance = TOLERANCE if tips else 1e-6
        params = random_params(2, 8, seed=5, bend=bend)
        mesh = model.full_mesh(params)
        _, joints, vertices = geometry_by_smplx(arrays, params, tips)
        assert mesh.vertices.shape == (2, 8, model.config.num_vertices, 3)
        assert mesh.joints.shape == (2, 8, NUM_JOINTS, 3)
        assert torch.equal(mesh.faces, torch.from_numpy(arrays["f"].astype(np.int64)))
        assert (mesh.vertices.flatten(0, 1) - vertices).abs().max() < tolerance
        assert (mesh.joints.flatten(0, 1) - joints).abs().max() < tolerance

    def test_rest_pose(self, case):
        model, arrays, tips = case
        params = HandParams.zeros(1)
        joints, _, _ = geometry_by_smplx(arrays, params, tips)
        assert (model(params).joints_3d - joints).abs().max() < TOLERANCE

    def test_files_with_sixteen_betas_use_the_first_ten(self, case):
        assert case[0].shape_directions.shape[-1] == 10


class TestGeometry:
    def test_rotations_are_the_wrist_in_the_camera_frame_and_the_fingers_in_their_parents(self, body):
        params = random_params(4)
        local = rotvec_to_rotmat(params.full_pose)
        rotations = body(params).rotations
        assert torch.allclose(rotations[:, 0, 1:], local[:, 22:37], atol=1e-6)
        assert torch.allclose(rotations[:, 1, 1:], local[:, 37:52], atol=1e-6)
        for hand, wrist in enumerate((20, 21)):
            expected, joint = torch.eye(3), wrist
            while joint >= 0:
                expected, joint = local[:, joint] @ expected, PARENTS[joint]
            assert torch.allclose(rotations[:, hand, 0], expected, atol=1e-5)

    def test_joints_2d_are_joints_3d_through_the_camera(self, body):
        params = random_params(4)
        geometry = body(params)
        for hand in range(2):
            drawn = project_weak_perspective(geometry.joints_3d[:, hand], params.camera)
            assert torch.equal(geometry.joints_2d[:, hand], drawn)

    def test_turning_the_person_turns_the_geometry(self, body):
        params = random_params(3)
        upright = body(params.replace(global_orient=torch.zeros(3, 3)))
        turn = rotvec_to_rotmat(params.global_orient)
        expected = torch.einsum("bij,bhnj->bhni", turn, upright.joints_3d)
        assert torch.allclose(body(params).joints_3d, expected, atol=TOLERANCE)

    def test_a_mirrored_person_has_mirrored_geometry(self, body):
        params = random_params(6)
        geometry, mirrored = body(params), body(params.mirror())
        flip = torch.tensor([-1.0, 1.0, 1.0])
        assert torch.allclose(mirrored.joints_3d, geometry.joints_3d.flip(1) * flip, atol=TOLERANCE)
        assert torch.allclose(mirrored.joints_2d, geometry.joints_2d.flip(1) * flip[:2], atol=TOLERANCE * 10)
        places = torch.from_numpy(load_file(PROCEDURAL_BODY_FILE)["vert_sym_idxs"]).long()
        left_ids, right_ids, _ = body.hand_vertex_ids.split([body.config.num_left_vertices] * 2 + [10])
        order = torch.searchsorted(right_ids, places[left_ids])
        assert torch.equal(right_ids[order], places[left_ids])
        assert torch.allclose(mirrored.left_vertices, geometry.right_vertices[:, order] * flip, atol=TOLERANCE)

    @pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3), (2, 0)])
    def test_any_batch_shape(self, body, shape):
        geometry = body(random_params(*shape))
        left, right = body.config.num_left_vertices, body.config.num_right_vertices
        assert {name: tuple(value.shape[len(shape) :]) for name, value in geometry.items()} == {
            "rotations": (2, 16, 3, 3),
            "joints_3d": (2, 21, 3),
            "joints_2d": (2, 21, 2),
            "left_vertices": (left, 3),
            "right_vertices": (right, 3),
        }
        assert all(value.shape[: len(shape)] == shape for value in geometry.values())
        mesh = body.full_mesh(random_params(*shape))
        assert mesh.vertices.shape == (*shape, body.config.num_vertices, 3)
        assert mesh.joints.shape == (*shape, NUM_JOINTS, 3)

    def test_rows_do_not_depend_on_their_neighbours(self, body):
        params = random_params(5)
        together = body(params)
        for row in range(5):
            for name, value in body(params[row]).items():
                assert torch.allclose(value, together[name][row], atol=1e-6), name

    @pytest.mark.parametrize("bend", [0.0, 1e-4, 0.6, 3.0])
    def test_gradients_are_finite(self, body, bend):
        params = random_params(2, bend=bend)
        inputs = {name: getattr(params, name) for name in HandParams.FIELDS if name != "hand_visible"}
        if bend == 0.0:
            inputs["global_orient"] = torch.zeros(2, 3)
        inputs = {name: value.clone().requires_grad_() for name, value in inputs.items()}
        geometry = body(params.replace(**inputs))
        sum(value.square().sum() for value in geometry.values()).backward()
        for name, value in inputs.items():
            assert torch.isfinite(value.grad).all(), name
            assert value.grad.abs().sum() > 0, name

    def test_gradients_agree_with_differences(self, body):
        params = random_params(1)
        direction = torch.randn(params.full_pose.shape, generator=torch.Generator().manual_seed(9))

        def height(amount):
            pose = params.full_pose + amount * direction
            return body.hand_geometry(pose, params.betas, params.camera).joints_3d[..., 1].sum()

        amount = torch.zeros((), requires_grad=True)
        height(amount).backward()
        difference = (height(torch.tensor(1e-2)) - height(torch.tensor(-1e-2))) / 2e-2
        assert math.isclose(amount.grad.item(), difference.item(), rel_tol=2e-2)

    @pytest.mark.parametrize("bend", [0.0, 0.6])
    def test_gradients_of_the_whole_body_are_those_of_smplx(self, body, procedural_arrays, bend):
        params = random_params(2, bend=bend)
        names = ("betas", "global_orient", "body_pose", "left_hand_pose", "right_hand_pose")
        inputs = {name: getattr(params, name).clone().requires_grad_() for name in names}
        mesh = body.full_mesh(params.replace(**inputs))
        weight = torch.randn(mesh.vertices.shape, generator=torch.Generator().manual_seed(1))
        ((mesh.vertices * weight).sum() + mesh.joints.square().sum()).backward()
        twins = {name: getattr(params, name).double().requires_grad_() for name in names}
        posed = smplx_model(procedural_arrays)(**twins, transl=torch.zeros(2, 3).double())
        pelvis = posed.joints[:, :1]
        joints, vertices = posed.joints[:, :NUM_JOINTS] - pelvis, posed.vertices - pelvis
        ((vertices * weight).sum() + joints.square().sum()).backward()
        for name in names:
            expected = twins[name].grad
            assert expected.abs().max() > 0, name
            assert (inputs[name].grad - expected).abs().max() < 1e-4 * expected.abs().max(), name

    def test_the_hands_are_those_of_the_whole_body(self, body):
        params = random_params(3)
        hands, whole = body(params), body.full_mesh(params)
        vertices = torch.cat([hands.left_vertices, hands.right_vertices], dim=1)
        ids = body.hand_vertex_ids[: vertices.shape[1]]
        assert (vertices - whole.vertices[:, ids]).abs().max() < 1e-6
        assert (hands.joints_3d[:, :, 0] - whole.joints[:, [20, 21]]).abs().max() < 1e-6

    def test_faces_of_the_hands_are_faces_of_the_body(self, body):
        every_face = {tuple(face) for face in body.faces.tolist()}
        start = 0
        for side in ("left", "right"):
            count, faces = body.config[f"num_{side}_vertices"], body.get_buffer(f"{side}_faces")
            ids = body.hand_vertex_ids[start : start + count]
            assert faces.min() == 0 and faces.max() == count - 1
            assert {tuple(face) for face in ids[faces].tolist()} <= every_face
            start += count

    def test_torch_compile_needs_one_graph(self, body):
        params = random_params(2)
        arguments = params.full_pose, params.betas, params.camera
        compiled = torch.compile(body.hand_geometry, backend="aot_eager", fullgraph=True)
        for name, value in compiled(*arguments).items():
            assert torch.allclose(value, body.hand_geometry(*arguments)[name], atol=1e-6), name

    def test_other_input_is_refused(self, body):
        for call in (body, body.full_mesh):
            with pytest.raises(TypeError, match="`hand_params` must be HandParams, got dict"):
                call({})


class TestPrecision:
    def check_unchanged(self, model, body):
        for name, buffer in model.state_dict().items():
            assert buffer.dtype == body.state_dict()[name].dtype, name
            assert torch.equal(buffer, body.state_dict()[name]), name
        params = random_params(2)
        for name, value in model(params).items():
            assert value.dtype == torch.float32
            assert torch.equal(value, body(params)[name]), name
        for name, value in model.full_mesh(params).items():
            assert torch.equal(value, body.full_mesh(params)[name]), name

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_casting_leaves_float32(self, body, dtype):
        self.check_unchanged(copy.deepcopy(body).to(dtype=dtype), body)
        self.check_unchanged(copy.deepcopy(body).to("cpu", dtype), body)

    def test_half_leaves_float32(self, body):
        self.check_unchanged(copy.deepcopy(body).half(), body)

    @pytest.mark.parametrize("keyword", ["torch_dtype", "dtype"])
    @pytest.mark.parametrize("low_cpu_mem_usage", [True, False])
    def test_loading_in_half_precision_leaves_float32(self, body, tmp_path, keyword, low_cpu_mem_usage):
        body.save_pretrained(tmp_path)
        options = {keyword: torch.float16, "low_cpu_mem_usage": low_cpu_mem_usage}
        self.check_unchanged(HandBodyModel.from_pretrained(tmp_path, **options), body)

    def test_autocast_leaves_float32(self, body):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            geometry, mesh = body(random_params(2)), body.full_mesh(random_params(2))
        for name, value in body(random_params(2)).items():
            assert torch.equal(geometry[name], value), name
        for name, value in body.full_mesh(random_params(2)).items():
            assert torch.equal(mesh[name], value), name

    def test_half_precision_poses_are_computed_in_float32(self, body):
        params = random_params(2)
        pose = params.full_pose.half()
        geometry = body.hand_geometry(pose, params.betas, params.camera)
        expected = body.hand_geometry(pose.float(), params.betas, params.camera)
        assert torch.equal(geometry.joints_3d, expected.joints_3d)


class TestSaving:
    def test_round_trip_is_exact(self, body, tmp_path):
        body.save_pretrained(tmp_path)
        assert sorted(file.name for file in tmp_path.iterdir()) == [
            "config.json",
            "diffusion_pytorch_model.safetensors",
        ]
        loaded = HandBodyModel.from_pretrained(tmp_path)
        assert own_config(loaded) == own_config(body)
        assert list(loaded.state_dict()) == list(body.state_dict())
        assert all(torch.equal(a, b) for a, b in zip(loaded.buffers(), body.buffers(), strict=True))
        params = random_params(2)
        assert all(torch.equal(a, b) for a, b in zip(loaded(params).values(), body(params).values(), strict=True))
        assert not loaded.training

    def test_a_saved_body_is_small(self, body, tmp_path):
        body.save_pretrained(tmp_path)
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2_500_000

    def test_pose_directions_are_saved_if_there_are_any(self, procedural_arrays, tmp_path):
        arrays = {**procedural_arrays, "posedirs": np.full((6890, 3, 459), 1e-3, np.float32)}
        model = HandBodyModel.from_smplh(save_body(tmp_path / "b.npz", arrays), licensed=False)
        model.save_pretrained(tmp_path / "saved")
        loaded = HandBodyModel.from_pretrained(tmp_path / "saved")
        assert loaded.config.num_pose_features == 459
        assert torch.equal(loaded(random_params(1)).joints_3d, model(random_params(1)).joints_3d)

    def test_construction_on_the_meta_device(self, body):
        with torch.device("meta"):
            empty = HandBodyModel(**body.config)
        assert all(buffer.is_meta for buffer in empty.buffers())
        empty.load_state_dict(body.state_dict(), assign=True)
        assert torch.equal(empty(random_params(1)).joints_3d, body(random_params(1)).joints_3d)
        with accelerate.init_empty_weights(include_buffers=True):
            HandBodyModel()

    def test_the_default_config_has_the_procedural_sizes(self, body):
        default = HandBodyModel().config
        assert list(default.hand_joints) == body.config.hand_joints
        for name in body.config:
            assert not name.startswith("num_") or default[name] == body.config[name], name

    @pytest.mark.parametrize("damage", ["missing", "nan", "shape"])
    def test_damaged_weights_are_refused(self, body, tmp_path, damage):
        body.save_pretrained(tmp_path)
        file = tmp_path / "diffusion_pytorch_model.safetensors"
        tensors = load_tensors(file)
        if damage == "missing":
            del tensors["template"]
        elif damage == "nan":
            tensors["template"][0] = float("nan")
        else:
            tensors["template"] = tensors["template"][:-1].clone()
        save_tensors(tensors, file, metadata={"format": "pt"})
        with pytest.raises(ValueError, match="template"):
            HandBodyModel.from_pretrained(tmp_path)

    def test_wrong_hand_joints_are_refused(self, body):
        with pytest.raises(ValueError, match="`hand_joints` must be sorted by depth and hold their parents"):
            HandBodyModel(hand_joints=[0, 20, 21])


class TestLicensedBody:
    @pytest.fixture()
    def licensed(self, tmp_path) -> HandBodyModel:
        arrays = merged(made_up_body(), made_up_hands())
        return HandBodyModel.from_smplh(save_body(tmp_path / "body.npz", arrays), vertex_ids=fingertips_of(300))

    def test_smplx_poses_the_whole_body(self, licensed, monkeypatch):
        params = random_params(2, 3)
        mesh = licensed.full_mesh(params)
        _, joints, vertices = geometry_by_smplx(merged(made_up_body(), made_up_hands()), params, fingertips_of(300))
        assert (mesh.vertices.flatten(0, 1) - vertices).abs().max() < TOLERANCE
        assert (mesh.joints.flatten(0, 1) - joints).abs().max() < TOLERANCE
        assert licensed.full_mesh(random_params(0, 2)).vertices.shape == (0, 2, 300, 3)
        assert list(licensed.children()) == []
        copied = copy.deepcopy(licensed).to(torch.float16)
        assert list(copied.state_dict()) == list(licensed.state_dict())
        monkeypatch.setitem(sys.modules, "smplx", None)
        with pytest.raises(ImportError, match="`full_mesh` of a licensed body needs smplx: pip install smplx"):
            copied.full_mesh(params)

    def test_only_its_config_is_saved(self, licensed, tmp_path):
        licensed.save_pretrained(tmp_path / "saved", safe_serialization=True)
        assert [file.name for file in (tmp_path / "saved").iterdir()] == ["config.json"]
        config = json.loads((tmp_path / "saved" / "config.json").read_text())
        assert config["body"] == "smplh" and config["licensed"] is True
        assert config["sha256"] == body_sha256(merged(made_up_body(), made_up_hands()))

    def test_loading_it_asks_for_the_file(self, licensed, tmp_path):
        licensed.save_pretrained(tmp_path / "saved")
        with pytest.raises(ValueError, match=r"pass `body_model=HandBodyModel.from_smplh\(...\)`") as error:
            HandBodyModel.from_pretrained(tmp_path / "saved")
        assert "\n" not in str(error.value) and licensed.config.sha256 in str(error.value)

    def test_loading_it_from_a_subfolder_asks_for_the_file(self, licensed, tmp_path):
        licensed.save_pretrained(tmp_path / "saved" / "body_model")
        with pytest.raises(ValueError, match="licensed body"):
            HandBodyModel.from_pretrained(tmp_path / "saved", subfolder="body_model", torch_dtype=torch.float16)

    def test_a_body_of_ones_own_is_saved_whole(self, tmp_path):
        arrays, tips = merged(made_up_body(), made_up_hands()), fingertips_of(300)
        model = HandBodyModel.from_smplh(save_body(tmp_path / "b.npz", arrays), vertex_ids=tips, licensed=False)
        model.save_pretrained(tmp_path / "saved")
        loaded = HandBodyModel.from_pretrained(tmp_path / "saved")
        assert torch.equal(loaded(random_params(1)).joints_3d, model(random_params(1)).joints_3d)

    def test_fingertips_outside_the_mesh_are_refused(self, tmp_path):
        path = save_body(tmp_path / "b.npz", merged(made_up_body(), made_up_hands()))
        with pytest.raises(ValueError, match="`vertex_ids`: fingertip 2746 is not one of the body's 300 vertices"):
            HandBodyModel.from_smplh(path)
        with pytest.raises(ValueError, match="`vertex_ids` lacks 'lthumb'"):
            HandBodyModel.from_smplh(path, vertex_ids={})

    def test_too_few_shape_directions_are_refused(self, tmp_path):
        path = save_body(tmp_path / "b.npz", merged(made_up_body(num_betas=8), made_up_hands()))
        with pytest.raises(ValueError, match="`shapedirs` must hold at least 10 directions, got 8"):
            HandBodyModel.from_smplh(path, vertex_ids=fingertips_of(300))

    def test_a_body_without_hands_is_refused(self, tmp_path):
        arrays = merged(made_up_body(), made_up_hands())
        arrays["weights"] = np.eye(NUM_JOINTS)[np.zeros(300, int)]
        with pytest.raises(ValueError, match="attach no vertex to the left hand"):
            HandBodyModel.from_smplh(save_body(tmp_path / "b.npz", arrays), vertex_ids=fingertips_of(300))


class TestExport:
    @pytest.mark.parametrize("name", ["folder", "folder/mine.npz"])
    def test_smplx_loads_the_file(self, body, tmp_path, name, capsys):
        import smplx

        path = body.to_smplx(tmp_path / name)
        assert path == tmp_path / (name if name.endswith("npz") else "folder/smplh/SMPLH_NEUTRAL.npz")
        folder = tmp_path / name
        if name.endswith("npz"):
            model = smplx.SMPLH(str(path), ext="npz", use_pca=False, flat_hand_mean=True)
        else:
            model = smplx.create(str(folder), "smplh", ext="npz", use_pca=False, flat_hand_mean=True)
        joints = model().joints - model().joints[:, :1]
        tips = torch.cat([joints[:, 63:68], joints[:, 68:73]], 1).unflatten(1, (2, 5))
        assert torch.allclose(body(HandParams.zeros(1)).joints_3d[:, :, SMPLX_TIPS], tips, atol=TOLERANCE)

    def test_our_own_file_is_recognised(self, body, tmp_path):
        loaded = HandBodyModel.from_smplh(body.to_smplx(tmp_path))
        assert own_config(loaded) == own_config(body)
        assert all(torch.equal(a, b) for a, b in zip(loaded.buffers(), body.buffers(), strict=True))

    def test_a_changed_body_is_not_taken_for_ours(self, procedural_arrays, tmp_path):
        arrays = {**procedural_arrays, "v_template": procedural_arrays["v_template"] * np.float32(1.01)}
        loaded = HandBodyModel.from_smplh(save_body(tmp_path / "b.npz", arrays))
        assert loaded.config.body == "smplh" and loaded.config.licensed

    def test_pose_directions_and_hand_means_survive(self, tmp_path):
        arrays, tips = merged(made_up_body(), made_up_hands()), fingertips_of(300)
        model = HandBodyModel.from_smplh(save_body(tmp_path / "b.npz", arrays), vertex_ids=tips)
        exported = dict(np.load(model.to_smplx(tmp_path / "out.npz")))
        for name, array in arrays.items():
            expected = array[..., :10] if name == "shapedirs" else array
            np.testing.assert_array_equal(exported[name], np.asarray(expected, exported[name].dtype), err_msg=name)


@pytest.fixture(scope="module")
def shipped() -> dict[str, np.ndarray]:
    return load_file(PROCEDURAL_BODY_FILE)


class TestShippedBody:
    def test_the_file_is_small_and_says_where_it_comes_from(self):
        from safetensors import safe_open

        assert PROCEDURAL_BODY_FILE.stat().st_size <= 5_000_000
        with safe_open(PROCEDURAL_BODY_FILE, framework="np") as file:
            assert "tools/build_procedural_body" in file.metadata()["generator"]

    def test_the_mesh_is_closed(self, shipped):
        vertices, faces = shipped["v_template"], shipped["f"]
        assert vertices.shape == (6890, 3) and faces.shape == (13776, 3)
        directed = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
        assert len(np.unique(directed, axis=0)) == len(directed)
        edges, count = np.unique(np.sort(directed, 1), axis=0, return_counts=True)
        assert (count == 2).all()
        assert len(vertices) - len(edges) + len(faces) == 2
        a, b, c = (vertices[faces[:, k]].astype(float) for k in range(3))
        volume = (np.cross(a, b) * c).sum() / 6
        assert 0.05 < volume < 0.09  # cubic metres; negative if faces looked inwards

    def test_the_body_is_its_own_mirror_image(self, shipped):
        image, joints, flip = shipped["vert_sym_idxs"], np.array(MIRRORED_JOINTS), np.array([-1, 1, 1], np.float32)
        np.testing.assert_array_equal(image[image], np.arange(6890))
        np.testing.assert_array_equal(shipped["v_template"][image] * flip, shipped["v_template"])
        np.testing.assert_allclose(shipped["weights"][image][:, joints], shipped["weights"], atol=1e-6)
        np.testing.assert_allclose(shipped["J_regressor"][joints][:, image], shipped["J_regressor"], atol=1e-6)
        np.testing.assert_allclose(shipped["shapedirs"][image] * flip[:, None], shipped["shapedirs"], atol=1e-6)
        for left, right in zip(FINGERTIP_VERTEX_IDS["left"], FINGERTIP_VERTEX_IDS["right"], strict=True):
            assert image[left] == right

    def test_weights_are_weights(self, shipped):
        for name in ("weights", "J_regressor"):
            assert (shipped[name] >= 0).all()
            np.testing.assert_allclose(shipped[name].sum(1), 1, atol=1e-5)

    def test_the_fingers_are_where_fingers_are(self, body):
        geometry = body(HandParams.zeros())
        left = dict(zip(OPENPOSE_HAND_NAMES, geometry.joints_3d[0], strict=True))
        assert 0.16 < (left["middle4"] - left["wrist"]).norm() < 0.21
        for finger in ("index", "middle", "ring", "pinky"):
            along = [left[f"{finger}{k}"][0].item() for k in (1, 2, 3, 4)]
            assert along == sorted(along)
        across = [left[f"{finger}2"][2].item() for finger in ("thumb", "index", "middle", "ring", "pinky")]
        assert across == sorted(across, reverse=True)


def test_what_holds_hand_params_is_refused_with_a_hint(body):
    holder = SimpleNamespace(hand_params=HandParams.zeros(1))
    with pytest.raises(TypeError, match="must be HandParams, got SimpleNamespace; pass its `hand_params`"):
        body(holder)

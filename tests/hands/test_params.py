import dataclasses
import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from diffusers_handiffuser.hands import HandBodyModel, HandParams
from diffusers_handiffuser.hands.skeleton import JOINT_NAMES, LEFT_HAND, RIGHT_HAND

SUFFIXES = (".safetensors", ".json")
FLOATS = [name for name in HandParams.FIELDS if name != "hand_visible"]


def random_params(*shape: int, seed: int = 0) -> HandParams:
    generator = torch.Generator().manual_seed(seed)
    fields = {name: torch.randn(*shape, size, generator=generator) for name, size in HandParams.FIELDS.items()}
    fields["camera"] = fields["camera"].abs() + 0.1
    fields["hand_visible"] = fields["hand_visible"] > 0
    return HandParams(**fields)


def fields_of(params: HandParams) -> dict[str, torch.Tensor]:
    return {name: getattr(params, name) for name in HandParams.FIELDS}


def same(first: HandParams, second: HandParams) -> bool:
    return all(torch.equal(a, b) for a, b in zip(fields_of(first).values(), fields_of(second).values(), strict=True))


class TestChecks:
    def test_the_fields_are_the_dataclass_fields(self):
        assert [field.name for field in dataclasses.fields(HandParams)] == list(HandParams.FIELDS)

    def test_names_are_those_of_smplx(self):
        import inspect

        import smplx

        taken = inspect.signature(smplx.SMPLH.forward).parameters
        assert {"global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "betas"} <= set(taken)

    @pytest.mark.parametrize("name", HandParams.FIELDS)
    def test_wrong_width(self, name):
        good = fields_of(random_params(2))
        wrong = torch.zeros(2, HandParams.FIELDS[name] + 1, dtype=good[name].dtype)
        with pytest.raises(ValueError, match=rf"`{name}` must have shape \(\.\.\., {HandParams.FIELDS[name]}\), got"):
            HandParams(**{**good, name: wrong})
        with pytest.raises(ValueError, match=rf"`{name}` must have shape .* got \(\)"):
            HandParams(**{**good, name: torch.zeros(())})

    @pytest.mark.parametrize("name", list(HandParams.FIELDS)[1:])
    def test_wrong_leading_shape(self, name):
        good = fields_of(random_params(2))
        with pytest.raises(ValueError, match=rf"`{name}` has leading shape \(3,\), but `global_orient` has \(2,\)"):
            HandParams(**{**good, name: good[name][[0, 1, 1]]})
        with pytest.raises(ValueError, match=rf"`{name}` has leading shape \(1, 2\)"):
            HandParams(**{**good, name: good[name][None]})

    @pytest.mark.parametrize("name", HandParams.FIELDS)
    def test_not_a_tensor(self, name):
        good = fields_of(random_params(2))
        for wrong in (good[name].tolist(), good[name].numpy(), None):
            with pytest.raises(TypeError, match=f"`{name}` must be a torch.Tensor, got"):
                HandParams(**{**good, name: wrong})

    @pytest.mark.parametrize("name", FLOATS)
    @pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
    def test_not_floating_point(self, name, dtype):
        good = fields_of(random_params(2))
        with pytest.raises(TypeError, match=f"`{name}` must be a floating-point tensor, got {dtype}"):
            HandParams(**{**good, name: torch.ones_like(good[name]).to(dtype)})

    @pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.uint8])
    def test_visibility_is_bool_alone(self, dtype):
        good = fields_of(random_params(2))
        with pytest.raises(TypeError, match=f"`hand_visible` must be a bool tensor, got {dtype}"):
            HandParams(**{**good, "hand_visible": good["hand_visible"].to(dtype)})

    @pytest.mark.parametrize("name", FLOATS)
    @pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
    def test_not_finite(self, name, number):
        good = fields_of(random_params(2))
        wrong = good[name].clone()
        wrong[1, -1] = number
        with pytest.raises(ValueError, match=f"`{name}` holds numbers that are not finite"):
            HandParams(**{**good, name: wrong})

    def test_numbers_too_large_for_float32(self):
        good = fields_of(random_params())
        with pytest.raises(ValueError, match="`betas` holds numbers that are not finite"):
            HandParams(**{**good, "betas": torch.full((10,), 1e300, dtype=torch.float64)})

    @pytest.mark.parametrize("scale", [0.0, -1.0])
    def test_scale_of_the_camera(self, scale):
        with pytest.raises(ValueError, match="`camera` must have a positive scale"):
            HandParams.zeros(2).replace(camera=torch.tensor([[1.0, 0.0, 0.0], [scale, 0.0, 0.0]]))

    @pytest.mark.parametrize("name", list(HandParams.FIELDS)[1:])
    def test_two_devices(self, name):
        good = fields_of(HandParams.zeros(0))
        with pytest.raises(ValueError, match=f"`{name}` is on meta, but `global_orient` is on cpu"):
            HandParams(**{**good, name: _on_meta_but_finite(good[name])})

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
    def test_numbers_are_kept_as_float32(self, dtype):
        params = random_params(2)
        cast = HandParams(**{k: v if k == "hand_visible" else v.to(dtype) for k, v in fields_of(params).items()})
        assert all(getattr(cast, name).dtype == torch.float32 for name in FLOATS)
        assert torch.allclose(cast.betas, params.betas, atol=0.05)

    def test_gradients_pass_through(self):
        pose = torch.zeros(2, 45, requires_grad=True)
        params = HandParams.zeros(2).replace(left_hand_pose=pose)
        params.mirror()[0].full_pose.sum().backward()
        assert pose.grad[0].abs().sum() > 0

    def test_frozen(self):
        params = random_params(2)
        with pytest.raises(dataclasses.FrozenInstanceError):
            params.betas = torch.zeros(2, 10)
        with pytest.raises(dataclasses.FrozenInstanceError):
            del params.betas


class _FiniteOnMeta(torch.Tensor):
    """A meta tensor that can be asked whether it is finite, so that the check of devices is reached without a GPU."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.isfinite:
            return torch.ones(1, dtype=torch.bool)
        return super().__torch_function__(func, types, args, kwargs or {})


def _on_meta_but_finite(tensor):
    return tensor.to("meta").as_subclass(_FiniteOnMeta)


class TestBatch:
    @pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 1)])
    def test_zeros_of_any_shape(self, shape):
        params = HandParams.zeros(*shape)
        assert params.batch_shape == shape
        assert params.full_pose.shape == (*shape, 52, 3)
        assert not params.full_pose.any() and not params.betas.any() and not params.hand_visible.any()
        assert params.camera.reshape(-1, 3).tolist() == [[1, 0, 0]] * params.camera[..., 0].numel()

    def test_len_and_iteration(self):
        params = random_params(3, 2)
        assert len(params) == 3
        assert [row.batch_shape for row in params] == [(2,)] * 3
        assert same(list(params)[1], params[1])

    def test_a_single_person_has_neither(self):
        with pytest.raises(TypeError, match="single person"):
            len(random_params())
        with pytest.raises(TypeError, match="single person"):
            list(random_params())
        with pytest.raises(IndexError, match="single person"):
            random_params()[0]

    @pytest.mark.parametrize(
        "index",
        [
            0,
            -1,
            slice(1, 3),
            slice(None, None, 2),
            [3, 0],
            torch.tensor([2, 2, 1]),
            torch.tensor([True, False, True, False]),
            torch.tensor([True, False, True, False]).numpy(),
            (1, 2),
            (slice(None), 0),
            (..., 1),
            (0, ...),
            ...,
            (torch.tensor([0, 1]), torch.tensor([1, 2])),
            torch.eye(4, 3).bool(),
            None,
        ],
        ids=str,
    )
    def test_an_index_picks_rows_in_every_field(self, index):
        params = random_params(4, 3)
        picked = params[index]
        rows = torch.arange(12).view(4, 3)[index]
        assert picked.batch_shape == rows.shape
        flat = {name: value.flatten(0, 1) for name, value in fields_of(params).items()}
        assert all(torch.equal(getattr(picked, name), flat[name][rows]) for name in HandParams.FIELDS)

    @pytest.mark.parametrize("index", [4, (0, 3), (0, 0, 0), (..., 0, 0, 0), torch.ones(4, 3, 3).bool()], ids=str)
    def test_an_index_cannot_reach_past_the_batch(self, index):
        with pytest.raises(IndexError):
            random_params(4, 3)[index]

    @pytest.mark.parametrize("dim", [0, 1])
    def test_cat_joins_what_an_index_took_apart(self, dim):
        params = random_params(4, 3)
        parts = [params[:1], params[1:]] if dim == 0 else [params[:, :2], params[:, 2:]]
        assert same(HandParams.cat(parts, dim), params)
        assert same(HandParams.cat(iter(parts), dim), params)

    def test_cat_of_parts_that_do_not_fit(self):
        with pytest.raises(ValueError, match="`parts` must hold at least one"):
            HandParams.cat([])
        for dim in (1, -1):
            with pytest.raises(ValueError, match=rf"`dim` must be a batch dimension of \(2,\), got {dim}"):
                HandParams.cat([random_params(2)] * 2, dim)
        with pytest.raises(ValueError, match="`dim` must be a batch dimension"):
            HandParams.cat([random_params()] * 2)
        for other in (random_params(2, 4), random_params(2), random_params()):
            with pytest.raises(ValueError, match=r"`parts` must have the same batch shape .* got \(2, 3\) and"):
                HandParams.cat([random_params(2, 3), other])

    def test_repeat_interleave_keeps_copies_together(self):
        params = random_params(3)
        assert same(params.repeat_interleave(2), params[[0, 0, 1, 1, 2, 2]])
        assert len(params.repeat_interleave(0)) == 0
        nested = random_params(2, 3)
        assert same(nested.repeat_interleave(2, dim=1), nested[:, [0, 0, 1, 1, 2, 2]])

    @pytest.mark.parametrize(("shape", "dim"), [((), 0), ((2,), 1), ((2,), -1)])
    def test_repeat_interleave_along_no_batch_dimension(self, shape, dim):
        with pytest.raises(ValueError, match="`dim` must be a batch dimension"):
            random_params(*shape).repeat_interleave(2, dim)

    def test_reshape(self):
        params = random_params(4, 3)
        assert same(params.reshape(12).reshape(4, 3), params)
        assert params.reshape(-1).batch_shape == (12,)
        assert params[0, 0].reshape(-1).batch_shape == (1,)
        assert random_params(1).reshape().batch_shape == ()
        assert HandParams.zeros(2, 0).reshape(-1).batch_shape == (0,)

    def test_to_takes_devices_alone(self):
        params = random_params(2)
        assert same(params.to("cpu"), params) and params.device == torch.device("cpu")
        with pytest.raises(TypeError, match="`to` takes a device, got torch.float16"):
            params.to(torch.float16)

    def test_repr_is_one_short_line(self):
        visible = torch.tensor([[True, True], [False, True], [True, False], [False, False]])
        rows = random_params(2, 2).replace(hand_visible=visible.reshape(2, 2, 2))
        expected = "HandParams(batch_shape=(2, 2), visible=[both, right, left, none], device='cpu')"
        assert repr(rows) == expected
        assert repr(rows[0, 1]) == "HandParams(batch_shape=(), visible=right, device='cpu')"
        assert (
            repr(HandParams.zeros(100)).endswith("none, ...], device='cpu')")
            and len(repr(HandParams.zeros(100))) < 120
        )


class TestReplace:
    def test_changes_one_field_in_a_copy(self):
        params = random_params(2)
        changed = params.replace(betas=torch.ones(2, 10))
        assert torch.equal(changed.betas, torch.ones(2, 10))
        assert not torch.equal(params.betas, changed.betas)
        assert same(changed.replace(betas=params.betas), params)

    def test_checks_what_it_is_given(self):
        with pytest.raises(ValueError, match="`betas` must have shape"):
            random_params(2).replace(betas=torch.zeros(2, 16))
        with pytest.raises(TypeError, match="no field 'transl'; its fields are global_orient"):
            random_params(2).replace(transl=torch.zeros(2, 3))


class TestFullPose:
    def test_is_in_the_order_of_the_joints(self):
        pose = random_params(2).full_pose
        params = random_params(2)
        assert torch.equal(pose[:, 0], params.global_orient)
        assert torch.equal(pose[:, 1:22].flatten(1), params.body_pose)
        assert torch.equal(pose[:, LEFT_HAND].flatten(1), params.left_hand_pose)
        assert torch.equal(pose[:, RIGHT_HAND].flatten(1), params.right_hand_pose)

    @pytest.mark.parametrize("shape", [(), (2, 3)])
    def test_round_trip(self, shape):
        params = random_params(*shape)
        rest = (params.betas, params.camera, params.hand_visible)
        assert same(HandParams.from_full_pose(params.full_pose, *rest), params)

    def test_of_a_wrong_shape(self):
        zeros = HandParams.zeros(2)
        with pytest.raises(ValueError, match=r"`full_pose` must have shape \(\.\.\., 52, 3\), got \(2, 156\)"):
            HandParams.from_full_pose(torch.zeros(2, 156), zeros.betas, zeros.camera, zeros.hand_visible)


@pytest.fixture(scope="module")
def body():
    return HandBodyModel.procedural()


class TestMirror:
    @pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
    def test_twice_is_the_identity(self, shape):
        params = random_params(*shape)
        assert not same(params.mirror(), params)
        assert same(params.mirror().mirror(), params)

    def test_flips_the_picture_and_swaps_the_hands(self, body):
        params = random_params(8)
        joints, mirrored = body(params).joints_2d, body(params.mirror()).joints_2d
        assert torch.allclose(mirrored, joints.flip(1) * torch.tensor([-1.0, 1.0]), atol=1e-4)
        assert torch.equal(params.mirror().hand_visible, params.hand_visible.flip(-1))

    def test_flips_the_whole_body(self, body):
        params = random_params(4)
        joints, mirrored = body.full_mesh(params).joints, body.full_mesh(params.mirror()).joints
        swapped = [JOINT_NAMES.index(_other_side(name)) for name in JOINT_NAMES]
        assert torch.allclose(mirrored, joints[:, swapped] * torch.tensor([-1.0, 1.0, 1.0]), atol=1e-5)

    def test_keeps_shape_and_size(self):
        params = random_params(2)
        mirrored = params.mirror()
        assert torch.equal(mirrored.betas, params.betas)
        assert torch.equal(mirrored.camera[:, [0, 2]], params.camera[:, [0, 2]])


def _other_side(name: str) -> str:
    side, _, part = name.partition("_")
    return {"left": f"right_{part}", "right": f"left_{part}"}.get(side, name)


def repr_start(value) -> str:
    return repr(value)[:20]


class TestDictionaries:
    @pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
    def test_round_trip(self, shape):
        params = random_params(*shape)
        row = params.to_dict()
        assert list(row) == list(HandParams.FIELDS)
        assert same(HandParams.from_dict(json.loads(json.dumps(row))), params)

    def test_a_row_of_a_data_set_has_flat_lists(self):
        assert {name: len(value) for name, value in random_params().to_dict().items()} == HandParams.FIELDS

    def test_other_keys_are_ignored(self):
        params = random_params()
        assert same(HandParams.from_dict({**params.to_dict(), "text": "a fist", "crop": None}), params)

    @pytest.mark.parametrize("name", HandParams.FIELDS)
    def test_a_missing_field(self, name):
        row = random_params().to_dict()
        del row[name]
        with pytest.raises(ValueError, match=f"lack the field '{name}'"):
            HandParams.from_dict(row)

    @pytest.mark.parametrize("name", HandParams.FIELDS)
    def test_what_is_not_a_list_of_numbers(self, name):
        for value in ("abc", None, ["a"], [[1.0], [1.0, 2.0]], {"x": 1.0}, [10**400]):
            with pytest.raises(ValueError, match=f"`{name}` is not a list of (numbers|true and false)") as error:
                HandParams.from_dict({**random_params().to_dict(), name: value})
            assert "\n" not in str(error.value)

    @pytest.mark.parametrize("value", [[0.3, 1.0], [2, 0], [True, 1], ["true", "false"]])
    def test_visibility_is_not_guessed_from_numbers(self, value):
        with pytest.raises(ValueError, match="`hand_visible` is not a list of true and false"):
            HandParams.from_dict({**random_params().to_dict(), "hand_visible": value})


@pytest.mark.parametrize("suffix", SUFFIXES)
class TestFiles:
    @pytest.mark.parametrize("shape", [(), (3,), (2, 2), (0,), (2, 0)])
    def test_round_trip(self, tmp_path, suffix, shape):
        params = random_params(*shape)
        path = tmp_path / f"hands{suffix}"
        params.save(path)
        loaded = HandParams.load(str(path))
        assert same(loaded, params) and loaded.batch_shape == shape
        assert os.listdir(tmp_path) == [path.name]

    def test_of_parameters_with_gradients(self, tmp_path, suffix):
        params = random_params(2).replace(betas=torch.ones(2, 10, requires_grad=True))
        params.save(tmp_path / f"hands{suffix}")
        assert not HandParams.load(tmp_path / f"hands{suffix}").betas.requires_grad

    def test_of_rows_that_share_memory(self, tmp_path, suffix):
        params = random_params(1)[[0, 0]]
        shared = params.replace(left_hand_pose=params.right_hand_pose, betas=params.body_pose[:, :10])
        shared.save(tmp_path / f"hands{suffix}")
        assert same(HandParams.load(tmp_path / f"hands{suffix}"), shared)

    def test_replaces_an_old_file(self, tmp_path, suffix):
        path = tmp_path / f"hands{suffix}"
        random_params(2).save(path)
        random_params(3, seed=1).save(path)
        assert same(HandParams.load(path), random_params(3, seed=1))

    def test_a_failure_leaves_the_old_file_whole(self, tmp_path, suffix, monkeypatch):
        path = tmp_path / f"hands{suffix}"
        random_params(2).save(path)
        before = path.read_bytes()

        def fail(*_):
            raise OSError("disk full")

        for function in ("replace", "write_bytes"):
            with monkeypatch.context() as patch:
                patch.setattr(*((os, "replace") if function == "replace" else (type(path), "write_bytes")), fail)
                with pytest.raises(OSError, match="disk full"):
                    random_params(3).save(path)
            assert path.read_bytes() == before
            assert os.listdir(tmp_path) == [path.name], "nothing is left lying about"

    def test_into_a_folder_that_does_not_exist(self, tmp_path, suffix):
        with pytest.raises(FileNotFoundError):
            random_params().save(tmp_path / "nowhere" / f"hands{suffix}")

    def test_a_missing_file(self, tmp_path, suffix):
        path = tmp_path / f"hands{suffix}"
        for made in (None, path.mkdir):
            if made:
                made()
            with pytest.raises(FileNotFoundError, match="No hand parameters at .*hands"):
                HandParams.load(path)

    def refused(self, path, match):
        with pytest.raises(ValueError, match=match) as error:
            HandParams.load(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
        assert str(error.value).startswith("Cannot read hand parameters from")

    def test_a_truncated_file(self, tmp_path, suffix):
        path = tmp_path / f"hands{suffix}"
        random_params(2).save(path)
        content = path.read_bytes()
        for length in (0, 5, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:length])
            self.refused(path, "Cannot read")

    def test_a_file_of_another_kind(self, tmp_path, suffix):
        path = tmp_path / f"hands{suffix}"
        for content in (b"\x89PNG\r\n\x1a\n" + bytes(100), b"\xff" * 64, b"[1, 2]", b'"text"', b"[" * 100_000):
            path.write_bytes(content)
            self.refused(path, "Cannot read")

    def test_a_foreign_file_of_the_same_kind(self, tmp_path, suffix):
        path = tmp_path / f"hands{suffix}"
        write(path, random_params(2), form=None)
        self.refused(path, "was not written by HandParams.save")
        write(path, random_params(2), form="diffusers.Something")
        self.refused(path, "was not written by HandParams.save")

    @pytest.mark.parametrize("version", ["2", "0", "1.0", None, "one"])
    def test_another_version(self, tmp_path, suffix, version):
        path = tmp_path / f"hands{suffix}"
        write(path, random_params(2), version=version)
        self.refused(path, "format version .* is not 1, the one this release reads")

    def test_a_field_too_many_or_too_few(self, tmp_path, suffix):
        path = tmp_path / f"hands{suffix}"
        write(path, random_params(2), transl=torch.zeros(2, 3))
        self.refused(path, "unknown: .'transl'.")
        write(path, random_params(2), betas=None)
        self.refused(path, "fields missing: .'betas'.")

    def test_a_field_that_is_wrong(self, tmp_path, suffix):
        path = tmp_path / f"hands{suffix}"
        write(path, random_params(2), betas=torch.zeros(2, 16))
        self.refused(path, r"`betas` must have shape \(\.\.\., 10\), got \(2, 16\)")
        write(path, random_params(2), betas=torch.full((2, 10), float("nan")))
        self.refused(path, "`betas` holds numbers that are not finite")
        write(path, random_params(2), hand_visible=torch.zeros(2, 2))
        self.refused(path, "`hand_visible`")


def write(path, params, form="diffusers_handiffuser.HandParams", version="1", **changes):
    """A file in the format of `HandParams.save`, with changes: `None` leaves an entry out."""
    tensors = {k: v for k, v in {**fields_of(params), **changes}.items() if v is not None}
    metadata = {k: v for k, v in {"format": form, "version": version}.items() if v is not None}
    if path.suffix == ".json":
        path.write_text(json.dumps({**metadata, **{k: v.tolist() for k, v in tensors.items()}}))
    else:
        save_file(tensors, path, {"format": "/".join(metadata.values())})


@pytest.mark.parametrize("name", ["hands.npz", "hands", "hands.pt", "hands.JSONL"])
def test_other_suffixes_are_refused_both_ways(tmp_path, name):
    with pytest.raises(ValueError, match=r"`path` must end in .safetensors or .json, got 'hands"):
        random_params().save(tmp_path / name)
    assert not os.listdir(tmp_path)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match="the name must end in .safetensors or .json"):
        HandParams.load(tmp_path / name)


def test_the_tensors_of_a_file_are_readable_without_this_package(tmp_path):
    params = random_params(2)
    params.save(tmp_path / "hands.safetensors")
    tensors = load_file(tmp_path / "hands.safetensors")
    assert {name: tuple(value.shape) for name, value in tensors.items()} == {
        name: (2, size) for name, size in HandParams.FIELDS.items()
    }


def test_messages_that_suggest():
    hands = HandParams.zeros(2)
    with pytest.raises(TypeError, match="takes a list of HandParams"):
        HandParams.cat(hands)
    with pytest.raises(TypeError, match="takes a list of HandParams"):
        HandParams.cat([hands, hands.camera])
    with pytest.raises(TypeError, match="no field 'right_hand_poze'; did you mean `right_hand_pose`"):
        hands.replace(right_hand_poze=hands.right_hand_pose)
    with pytest.raises(TypeError, match="no field 'zzz'; its fields are global_orient, "):
        hands.replace(zzz=1)
    for size in ((512,), (1, 2, 3), ()):
        with pytest.raises(ValueError, match=r"`size` must be the side of a square or \(width, height\), in pixels"):
            hands.to_condition("depth", size)

"""Motion capture as AMASS and HumanML3D store it, made here, imported, and compared."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from diffusers_handiffuser.data import parse_row, write_dataset
from diffusers_handiffuser.data.importers import (
    Caption,
    Motion,
    humanml3d_clips,
    read_humanml3d_captions,
    read_motion,
    sample_motion,
)
from diffusers_handiffuser.data.importers.motion import _seen_from_the_front
from diffusers_handiffuser.hands import HandParams
from diffusers_handiffuser.hands.rotations import rotvec_to_rotmat

FRAMES, RATE = 120, 60
UPRIGHT = Rotation.from_rotvec([np.pi / 2, 0, 0])  # y up to z up; such a person looks along -y


def make_motion(heading: float = 0.0, fingers: bool = True, frames: int = FRAMES, rate: float = RATE) -> Motion:
    """Someone who stands and whose fingers and arms move with time."""
    time = np.linspace(0, 1, frames)[:, None]
    poses = np.zeros((frames, 156), np.float32)
    poses[:, :3] = (Rotation.from_rotvec([0, 0, heading]) * UPRIGHT).as_rotvec()
    poses[:, 3:66] = 0.2 * np.sin(np.arange(63) + 3 * time)
    poses[:, [50, 53]] += [-1.2, 1.2]  # the arms hang down
    poses[:, 66:] = 0.3 * np.sin(np.arange(90) + (5 * time if fingers else 0))
    return Motion(poses, np.linspace(-1, 1, 10).astype(np.float32), rate, "made.npz")


def save(motion: Motion, path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    betas = np.concatenate([motion.betas, np.ones(6)])
    trans = np.zeros((len(motion.poses), 3))
    np.savez(path, poses=motion.poses, betas=betas, trans=trans, gender="neutral", mocap_framerate=motion.frame_rate)


def hands_of(rows) -> HandParams:
    return HandParams.cat([parse_row(row, "row").hand_params.reshape(1) for row in rows])


class TestFrames:
    def test_are_those_of_the_caption(self):
        motion = make_motion()
        captions = [Caption("waves", 0.5, 1.0), Caption("stands")]
        rows = sample_motion(motion, captions, frames_per_caption=3)
        assert [row["text"] for row in rows] == ["waves"] * 3 + ["stands"] * 3
        frames = [int(row["origin"].rpartition(" ")[2]) for row in rows]
        assert all(30 <= frame < 60 for frame in frames[:3]) and frames[:3] == sorted(set(frames[:3]))
        assert [frame // 40 for frame in frames[3:]] == [0, 1, 2]
        hands = hands_of(rows)
        poses = torch.from_numpy(motion.poses[frames])
        assert torch.allclose(hands.body_pose, poses[:, 3:66])
        assert torch.allclose(hands.left_hand_pose, poses[:, 66:111])
        assert torch.allclose(hands.right_hand_pose, poses[:, 111:])
        assert all(row["source"] == "amass" for row in rows)

    def test_are_a_function_of_the_seed(self):
        motion, captions = make_motion(), [Caption("stands")]
        first = sample_motion(motion, captions, seed=1, max_turn=20)
        assert first == sample_motion(motion, captions, seed=1, max_turn=20)
        assert first != sample_motion(motion, captions, seed=2, max_turn=20)

    def test_captions_beyond_the_end_take_the_last_frame(self):
        rows = sample_motion(make_motion(), [Caption("late", 90, 95)], frames_per_caption=2)
        assert [row["origin"] for row in rows] == [f"made.npz, frame {FRAMES - 1}"]

    def test_rows_make_a_data_set(self, tmp_path):
        rows = sample_motion(make_motion(), [Caption("waves")], frames_per_caption=5)
        assert write_dataset(tmp_path / "set", rows) == 5


class TestCamera:
    @pytest.mark.parametrize("heading", [0.0, 1.0, -2.5])
    def test_stands_before_the_person(self, heading):
        motion = make_motion(heading)
        hands = hands_of(sample_motion(motion, [Caption("stands")]))
        # A person who faces the camera has global_orient (pi, 0, 0), whatever the heading was.
        facing = rotvec_to_rotmat(torch.tensor([np.pi, 0.0, 0.0], dtype=torch.float32))
        assert (rotvec_to_rotmat(hands.global_orient) - facing).abs().max() < 1e-4

    def test_keeps_how_the_person_leans(self):
        """World to camera is one rotation: angles between the body and the vertical stay."""
        motion = make_motion(0.7)
        lean = Rotation.from_rotvec([0.3, 0.2, 0.0])
        motion.poses[:, :3] = (lean * Rotation.from_rotvec(motion.poses[0, :3])).as_rotvec()
        hands = hands_of(sample_motion(motion, [Caption("leans")]))
        up_in_world = Rotation.from_rotvec(motion.poses[0, :3]).as_matrix()[2]
        up_in_camera = -rotvec_to_rotmat(hands.global_orient)[:, 1]
        assert (up_in_camera - torch.tensor(up_in_world, dtype=torch.float32)).abs().max() < 1e-4

    def test_turns_as_much_as_asked_for(self):
        hands = hands_of(sample_motion(make_motion(), [Caption("stands")], 12, max_turn=30, seed=3))
        forward = rotvec_to_rotmat(hands.global_orient)[..., 2]
        turned = torch.atan2(forward[:, 0], -forward[:, 2]).rad2deg()
        assert turned.abs().max() < 30.01 and turned.min() < -5 and turned.max() > 5

    @pytest.mark.parametrize("framing", ["hands", "upper_body", "person"])
    def test_frames_what_is_asked_for(self, body, framing):
        hands = hands_of(sample_motion(make_motion(), [Caption("stands")], framing=framing, margin=0.2))
        assert hands.hand_visible.all()
        points = body(hands).joints_2d.flatten(1, 2)
        whole = body.full_mesh(hands).joints[..., :2]
        whole = hands.camera[:, None, :1] * (whole + hands.camera[:, None, 1:])
        assert points.abs().max() <= 1 / 1.4 + 1e-3
        extent = (torch.cat([points, whole], 1).amax(1) - torch.cat([points, whole], 1).amin(1)).amax(-1)
        assert (extent <= 2 / 1.4 + 1e-3).all() == (framing == "person")

    def test_shapes_are_those_of_the_users_body(self, body):
        assert (hands_of(sample_motion(make_motion(), [Caption("stands")])).betas == 0).all()
        licensed = SimpleNamespace(config=SimpleNamespace(body="smplh"))
        hands = _seen_from_the_front(make_motion(), [0], torch.zeros(1), licensed)
        assert torch.allclose(hands.betas, torch.linspace(-1, 1, 10))


class TestFiles:
    def test_amass(self, tmp_path):
        motion = make_motion()
        save(motion, tmp_path / "x.npz")
        read = read_motion(tmp_path / "x.npz")
        assert np.array_equal(read.poses, motion.poses) and np.allclose(read.betas, motion.betas)
        assert read.frame_rate == RATE and read.fingers_move
        np.savez(tmp_path / "y.npz", poses=motion.poses)
        with pytest.raises(ValueError, match="y.npz: it is no AMASS sequence: it lacks betas"):
            read_motion(tmp_path / "y.npz")

    def test_humanml3d_captions(self, tmp_path):
        (tmp_path / "x.txt").write_text(
            "a man kicks.#a/DET man/NOUN kick/VERB#0.0#0.0\nhe waves #2 times.#he/PRON wave/VERB#1.5#nan\n\n"
        )
        captions = read_humanml3d_captions(tmp_path / "x.txt")
        assert captions == [Caption("a man kicks."), Caption("he waves #2 times.", 1.5)]
        (tmp_path / "x.txt").write_text("a man kicks.#a/DET#0.0\n")
        with pytest.raises(ValueError, match="x.txt, line 1: must be caption#words#start#end"):
            read_humanml3d_captions(tmp_path / "x.txt")

    def test_humanml3d_clips(self, tmp_path):
        """Frames of a 120-Hz sequence, counted at 20 Hz after the seconds that HumanML3D drops."""
        motion = make_motion(frames=1200, rate=120)
        for name in ("KIT/3/walk_poses", "TotalCapture/s1/walk_poses"):
            save(motion, tmp_path / "amass" / f"{name}.npz")
        (tmp_path / "index.csv").write_text(
            "source_path,start_frame,end_frame,new_name\n"
            "./pose_data/KIT/3/walk_poses.npy,10,30,000000.npy\n"
            "./pose_data/humanact12/humanact12/P01.npy,0,9,000001.npy\n"
            "./pose_data/TotalCapture/s1/walk_poses.npy,0,200,000002.npy\n"
            "./pose_data/KIT/3/walk_poses.npy,0,9,000003.npy\n"
        )
        (tmp_path / "texts").mkdir()
        for name in ("000000", "000001", "000002"):
            (tmp_path / f"texts/{name}.txt").write_text(f"clip {name}#clip/NOUN#0.0#0.0\n")
        clips = list(humanml3d_clips(tmp_path / "index.csv", tmp_path / "texts", tmp_path / "amass"))
        assert [captions for _, captions in clips] == [[Caption("clip 000000")], [Caption("clip 000002")]]
        first, second = (clip for clip, _ in clips)
        assert np.array_equal(first.poses, motion.poses[60:180:6]) and first.frame_rate == 20
        assert np.array_equal(second.poses, motion.poses[120::6])
        assert sample_motion(first, clips[0][1])[0]["text"] == "clip 000000"


class TestRefusals:
    def test_fingers_that_never_move(self):
        still = make_motion(fingers=False)
        with pytest.raises(ValueError, match="the fingers of made.npz never move"):
            sample_motion(still, [Caption("stands")])
        assert len(sample_motion(still, [Caption("stands")], allow_still_fingers=True)) == 4

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"poses": np.zeros((5, 165), np.float32)}, r"must have shape \(T, 156\), got \(5, 165\); this is SMPL-X"),
            ({"poses": np.full((5, 156), np.nan, np.float32)}, "must be finite"),
            ({"betas": np.zeros(3, np.float32)}, r"`betas` of x must have shape \(10,\), got \(3,\)"),
            ({"frame_rate": 0.0}, "`frame_rate` of x must be positive, got 0.0"),
        ],
    )
    def test_motions(self, changes, message):
        arguments = {"poses": np.zeros((5, 156), np.float32), "betas": np.zeros(10, np.float32), "frame_rate": 30.0}
        with pytest.raises(ValueError, match=message):
            Motion(**{**arguments, **changes}, name="x")

    def test_framing(self):
        with pytest.raises(ValueError, match="`framing` must be one of .*, got 'face'"):
            sample_motion(make_motion(), [Caption("stands")], framing="face")

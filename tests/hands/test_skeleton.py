from diffusers_handiffuser.hands.skeleton import (
    BODY_JOINT_NAMES,
    FINGERS,
    FINGERTIP_VERTEX_IDS,
    JOINT_NAMES,
    LEFT_HAND,
    LEFT_WRIST,
    MIRRORED_JOINTS,
    NUM_JOINTS,
    OPENPOSE_FINGERS,
    OPENPOSE_FROM_MANO,
    OPENPOSE_HAND_EDGES,
    OPENPOSE_HAND_NAMES,
    PARENTS,
    RIGHT_HAND,
    RIGHT_WRIST,
    SIDES,
)


class TestJoints:
    def test_there_are_52_with_a_name_each(self):
        assert NUM_JOINTS == len(JOINT_NAMES) == len(set(JOINT_NAMES)) == len(PARENTS) == 52
        assert len(BODY_JOINT_NAMES) == 22

    def test_wrists_and_hands_stand_where_their_constants_say(self):
        assert (JOINT_NAMES[LEFT_WRIST], JOINT_NAMES[RIGHT_WRIST]) == ("left_wrist", "right_wrist")
        for side, hand in zip(SIDES, (LEFT_HAND, RIGHT_HAND), strict=True):
            names = JOINT_NAMES[hand]
            assert names == tuple(f"{side}_{finger}{k}" for finger in FINGERS for k in (1, 2, 3))

    def test_names_are_those_of_smplx(self):
        from smplx.joint_names import SMPLH_JOINT_NAMES

        assert list(JOINT_NAMES) == SMPLH_JOINT_NAMES[:NUM_JOINTS]


class TestParents:
    def test_come_before_their_children(self):
        assert PARENTS[0] == -1
        assert all(0 <= parent < joint for joint, parent in enumerate(PARENTS) if joint)

    def test_of_fingers_run_from_the_wrist_outwards(self):
        parent_of = {name: JOINT_NAMES[parent] for name, parent in zip(JOINT_NAMES, PARENTS, strict=True)}
        for side in SIDES:
            for finger in FINGERS:
                assert parent_of[f"{side}_{finger}1"] == f"{side}_wrist"
                assert parent_of[f"{side}_{finger}2"] == f"{side}_{finger}1"
                assert parent_of[f"{side}_{finger}3"] == f"{side}_{finger}2"

    def test_of_arms_lead_to_the_pelvis(self):
        joint, path = JOINT_NAMES.index("right_wrist"), []
        while joint >= 0:
            path.append(JOINT_NAMES[joint])
            joint = PARENTS[joint]
        arm = ["right_wrist", "right_elbow", "right_shoulder", "right_collar"]
        assert path == [*arm, "spine3", "spine2", "spine1", "pelvis"]


class TestMirror:
    def test_twice_is_the_identity(self):
        assert [MIRRORED_JOINTS[MIRRORED_JOINTS[joint]] for joint in range(NUM_JOINTS)] == list(range(NUM_JOINTS))

    def test_swaps_the_sides_and_keeps_the_middle(self):
        for joint, mirrored in enumerate(MIRRORED_JOINTS):
            name, other = JOINT_NAMES[joint], JOINT_NAMES[mirrored]
            side, _, part = name.partition("_")
            expected = {"left": f"right_{part}", "right": f"left_{part}"}.get(side, name)
            assert other == expected

    def test_keeps_the_tree(self):
        for joint in range(1, NUM_JOINTS):
            assert PARENTS[MIRRORED_JOINTS[joint]] == MIRRORED_JOINTS[PARENTS[joint]]


class TestOpenPose:
    def test_picks_wrist_fingers_and_tips_by_name(self):
        mano = ["wrist", *(f"{finger}{k}" for finger in FINGERS for k in (1, 2, 3))]
        mano += [f"{finger}4" for finger in OPENPOSE_FINGERS]
        assert tuple(mano[i] for i in OPENPOSE_FROM_MANO) == OPENPOSE_HAND_NAMES
        assert sorted(OPENPOSE_FROM_MANO) == list(range(21))

    def test_names_run_from_thumb_to_pinky(self):
        assert OPENPOSE_HAND_NAMES[:6] == ("wrist", "thumb1", "thumb2", "thumb3", "thumb4", "index1")
        assert OPENPOSE_HAND_NAMES[-1] == "pinky4"

    def test_edges_make_a_tree_that_hangs_from_the_wrist(self):
        assert len(OPENPOSE_HAND_EDGES) == 20
        assert sorted(end for _, end in OPENPOSE_HAND_EDGES) == list(range(1, 21))
        assert all(start < end for start, end in OPENPOSE_HAND_EDGES)

    def test_edges_stay_within_a_finger(self):
        for start, end in OPENPOSE_HAND_EDGES:
            first, second = OPENPOSE_HAND_NAMES[start], OPENPOSE_HAND_NAMES[end]
            if first == "wrist":
                assert second.endswith("1")
            else:
                assert (first[:-1], int(first[-1]) + 1) == (second[:-1], int(second[-1]))

    def test_fingertips_are_those_of_smplx(self):
        from smplx.vertex_ids import vertex_ids

        for side in SIDES:
            expected = [vertex_ids["smplh"][f"{side[0]}{finger}"] for finger in OPENPOSE_FINGERS]
            assert list(FINGERTIP_VERTEX_IDS[side]) == expected

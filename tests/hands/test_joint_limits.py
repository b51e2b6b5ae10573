from diffusers_handiffuser.hands.joint_limits import POSSIBLE, USUAL, joint_limits, kinds_of_joints


def test_what_is_usual_is_possible():
    (low, high), (usual_low, usual_high) = joint_limits(POSSIBLE), joint_limits(USUAL)
    assert low.shape == high.shape == (15, 3)
    assert (low < usual_low).all() and (usual_low < 0).all()
    assert (usual_high > 0).all() and (usual_high < high).all()


def test_fingers_are_in_the_order_of_mano():
    kinds = kinds_of_joints()
    assert [kinds.index("thumb"), kinds.count("thumb"), kinds.count("knuckle")] == [12, 3, 4]
    flexion = joint_limits(POSSIBLE)[1].rad2deg()[:, 2].round().tolist()
    assert flexion == [115, 130, 130] * 4 + [75] * 3

import torch

from diffusers_handiffuser import HandBodyModel
from diffusers_handiffuser.hands.palms import palm_facing, palm_share
from diffusers_handiffuser.studio import sample_scene
from diffusers_handiffuser.studio.scenes import SIDES, pose_scenes


def test_facing_is_that_of_the_hands():
    """The flat hand of the contract: palms to the camera, fingers up; then seen from behind, and mirrored."""
    hands = flat_hands()
    front = palm_facing(hands)
    assert front.shape == (1, 2) and torch.allclose(front, torch.full((1, 2), 0.6), atol=0.01)
    behind = hands * torch.tensor([-1.0, 1.0])  # the camera walks round: x turns
    assert torch.allclose(palm_facing(behind), -front)
    mirrored = behind.flip(1)  # a mirror turns x and makes a left hand a right one
    assert torch.allclose(palm_facing(mirrored), front.flip(1))
    assert torch.equal(palm_facing(torch.zeros(3, 2, 21, 2)), torch.zeros(3, 2))
    assert torch.equal(palm_share(hands), torch.ones(1, 2)) and torch.equal(palm_share(behind), torch.zeros(1, 2))
    assert torch.equal(palm_share(torch.zeros(3, 2, 21, 2)), torch.full((3, 2), 0.5))


def test_facing_is_what_scenes_show():
    scenes = [sample_scene(3, "train", index, "close_up") for index in range(60)]
    body_model = HandBodyModel.procedural()
    facing = palm_facing(body_model(pose_scenes(scenes, body_model)).joints_2d)
    shown = {"palm": [], "back": []}
    for scene, of_hands in zip(scenes, facing, strict=True):
        ((side, view),) = scene.views.items()
        if view in shown:
            shown[view].append(of_hands[SIDES.index(side)].item())
    assert min(shown["palm"]) > 0.3 and max(shown["back"]) < -0.3 and len(shown["back"]) > 5


def flat_hands() -> torch.Tensor:
    """Joints (1, 2, 21, 2) of a left and a right hand that show their palms, fingers up."""
    joints = torch.zeros(1, 2, 21, 2)
    joints[..., 0, :] = torch.tensor([0.0, 0.5])  # wrist
    joints[0, 1, 5], joints[0, 1, 17] = torch.tensor([0.15, 0.05]), torch.tensor([-0.15, 0.05])  # of the right hand
    joints[0, 0, 5], joints[0, 0, 17] = torch.tensor([-0.15, 0.05]), torch.tensor([0.15, 0.05])
    return joints

"""`repair_hands` with hands of the studio, a detector that knows them, and painters and judges of a few lines."""

import numpy as np
import pytest
import torch
from PIL import Image
from repair_room import BLEMISH, Painter, make_room, only_masks_changed

import diffusers_handiffuser
from diffusers_handiffuser import HandParams, repair_hands
from diffusers_handiffuser.repair import HandJudgement, PaintingError, draw_repair
from diffusers_handiffuser.repair.posing import within_limits


def repair(room, painter=None, **options):
    options = {"detector": room.detect, "judge": room.judge, "progress": False, **options}
    return repair_hands(options.pop("image", room.image), painter or Painter(room.paint), **options)


def decisions(output):
    return [hand.decision for hand in output.hands]


def blemished(image):
    """How many pixels have the blemish's colour."""
    return int((np.abs(np.asarray(image)[..., :3].astype(int) - BLEMISH).max(-1) < 12).sum())


def test_a_bad_hand_is_repaired():
    room = make_room().blemish("left", "right")
    output = repair(room, prompt="a hand", negative_prompt="blurred")
    (hand,) = output.hands
    assert hand.decision == "repaired" and hand.reason.endswith("(it has a blemish)")
    assert blemished(room.image) > 100 and blemished(output.image) == 0
    assert only_masks_changed(output, room.image) and output.changed
    assert hand.scores["agreement_after"] > hand.scores["agreement_before"] and hand.scores["share"] > 0
    assert hand.before.batch_shape == hand.after.batch_shape == (1,) and hand.side == "right"
    (crop,) = room.crops
    assert crop.image.size == crop.mask.size == (96, 96) and crop.image.mode == "RGB" and crop.mask.mode == "L"
    assert (crop.prompt, crop.negative_prompt, crop.strength, crop.seed) == ("a hand", "blurred", 0.4, 0)
    sheet = draw_repair(room.image, output)
    assert sheet.size == (3 * 200, 200)
    assert np.array_equal(sheet.crop((400, 0, 600, 200)), output.image)
    assert not np.array_equal(sheet.crop((200, 0, 400, 200)), room.image)


def test_a_good_hand_is_never_touched():
    room = make_room()
    output = repair(room)
    assert decisions(output) == ["left_alone"] and output.hands[0].reason == "it looks good"
    assert np.array_equal(output.image, room.image) and not room.crops and not output.changed


def test_of_two_hands_the_good_one_is_left_alone():
    room = make_room("two_hands").blemish("left")
    output = repair(room)
    assert {hand.side: hand.decision for hand in output.hands} == {"left": "repaired", "right": "left_alone"}
    assert only_masks_changed(output, room.image)


def test_overlapping_hands_of_two_people_one_after_the_other():
    """The second is drawn in the image with the first repaired."""
    room = make_room("two_hands")
    near = room.hands.replace(camera=room.hands.camera + torch.tensor([[0.0, 0.06, 0.03]]))
    room.hands = HandParams.cat([room.hands, near])
    room.blemish("right")
    rights = [i for i, hand in enumerate(repair(room, dry_run=True).hands) if hand.side == "right"]
    assert len(rights) == 2
    repair(room, which=rights[1:], tries=1)
    alone = room.crops.pop()
    output = repair(room, which=rights, tries=1)
    assert len(output.hands) == 4 and only_masks_changed(output, room.image)
    assert output.hands[rights[0]].decision == "repaired"
    assert blemished(room.crops[-1].image) < blemished(alone.image)
    assert all(hand.mask is None for i, hand in enumerate(output.hands) if i not in rights)


def test_what_is_no_better_is_not_kept():
    room = make_room().blemish("right")

    def rubbish(crop):
        room.crops.append(crop)
        room.drawn = crop.hand_params  # the detector believes that it is there
        noise = np.random.default_rng(crop.seed).integers(0, 255, (96, 96, 3), np.uint8)
        return Image.composite(Image.fromarray(noise), crop.image, crop.mask)

    output = repair(room, Painter(rubbish), tries=4, strengths=(0.2, 0.8), seed=5)
    (hand,) = output.hands
    assert hand.decision == "not_improved" and "agrees no better" in hand.reason and hand.mask is hand.after is None
    assert np.array_equal(output.image, room.image)
    assert [crop.seed for crop in room.crops] == [5, 6, 7, 8]
    assert np.allclose([crop.strength for crop in room.crops], [0.2, 0.4, 0.6, 0.8])


def test_the_next_try_follows_until_one_is_good():
    room = make_room().blemish("right")

    def third_time_lucky(crop):
        if crop.seed == 0:
            raise PaintingError("the safety checker blackened it")
        if crop.seed == 1:
            room.drawn = None
            return Image.new("RGB", (96, 96))
        return room.paint(crop)

    output = repair(room, Painter(third_time_lucky))
    assert decisions(output) == ["repaired"] and room.crops[0].seed == 2
    assert decisions(repair(room, Painter(third_time_lucky), tries=2)) == ["not_improved"]
    nothing = repair(room, Painter(third_time_lucky), tries=1)
    assert nothing.hands[0].reason.startswith("the safety checker blackened it")


def test_a_judge_must_not_call_the_result_bad():
    room = make_room().blemish("right")
    output = repair(room, judge=lambda *_: HandJudgement(True, "it is never good enough"), tries=1)
    assert decisions(output) == ["not_improved"]
    assert "what was drawn is bad, too: it is never good enough" in output.hands[0].reason


def test_a_hand_of_the_other_side_is_not_accepted():
    room = make_room().blemish("right")

    def mirrored(crop):
        image = room.paint(crop)
        room.drawn = crop.hand_params.mirror()
        return image

    assert decisions(repair(room, Painter(mirrored), tries=1)) == ["not_improved"]


@pytest.mark.parametrize(
    ("painted", "kind", "message"),
    [
        (lambda crop: crop.image.resize((64, 64)), ValueError, "96 x 96 pixels, got 64 x 64"),
        (lambda crop: np.asarray(crop.image), TypeError, "must return a PIL image, got ndarray"),
    ],
)
def test_painters_that_return_something_else(painted, kind, message):
    with pytest.raises(kind, match=message):
        repair(make_room().blemish("right"), Painter(painted))


def test_which():
    room = make_room("two_hands")
    assert decisions(repair(room, which=[1], dry_run=True)) == ["left_alone", "to_repair"]
    assert repair(room, which=[1], dry_run=True).hands[0].reason == "not chosen; it looks good"
    assert decisions(repair(room, which="all", dry_run=True)) == ["to_repair"] * 2
    assert decisions(repair(room, which=[], dry_run=True)) == ["left_alone"] * 2
    with pytest.raises(ValueError, match="names hand 2, but there are 2 hands"):
        repair(room, which=(0, 2), dry_run=True)


def test_a_dry_run_draws_nothing():
    room = make_room().blemish("right")
    output = repair_hands(room.image, None, detector=room.detect, judge=room.judge, dry_run=True)
    (hand,) = output.hands
    assert hand.decision == "to_repair" and hand.before is not None and hand.mask is None
    assert hand.scores["share"] > 0 and 0 < hand.scores["fit_confidence"] <= 1
    assert np.array_equal(output.image, room.image)


def test_an_image_without_hands():
    output = repair_hands(Image.new("RGB", (40, 30)), Painter(None), detector=lambda image: [], judge=lambda *_: 1 / 0)
    assert output.hands == [] and np.array_equal(output.image, Image.new("RGB", (40, 30)))


@pytest.mark.parametrize(
    ("size", "corner"), [((333, 217), (100, 3)), ((217, 401), (0, 190)), ((700, 240), (499, -20))]
)
def test_hands_at_the_edges_of_images_of_odd_sizes(size, corner):
    room = make_room(size=size, corner=corner).blemish("right")
    output = repair(room)
    assert decisions(output) == ["repaired"] and only_masks_changed(output, room.image)
    assert output.image.size == size


def test_tiny_and_huge_images():
    tiny = make_room(side=24).blemish("right")
    assert only_masks_changed(repair(tiny), tiny.image)
    huge = make_room(size=(4200, 3100), corner=(3900, 2800)).blemish("right")
    output = repair(huge)
    assert decisions(output) == ["repaired"] and only_masks_changed(output, huge.image)


def test_transparency_is_kept():
    room = make_room().blemish("right")
    alpha = Image.radial_gradient("L").resize(room.image.size)
    image = room.image.copy()
    image.putalpha(alpha.point(lambda value: 255 - value // 2))
    output = repair(room, image=image)
    assert output.image.mode == "RGBA" and output.image.getchannel("A").tobytes() == image.getchannel("A").tobytes()
    assert only_masks_changed(output, image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_files_of_any_orientation(orientation, tmp_path):
    room = make_room(side=100, size=(130, 110), corner=(20, 5)).blemish("right")
    turns = (None, None, 0, 3, 1, 5, 2, 6, 4)[orientation]  # the inverse of what the viewer does
    stored = room.image if turns is None else room.image.transpose(turns)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "a camera"
    stored.save(tmp_path / "photo.png", exif=exif)
    output = repair(room, image=tmp_path / "photo.png")
    assert decisions(output) == ["repaired"] and only_masks_changed(output, room.image)
    output.save(tmp_path / "repaired.png")
    with Image.open(tmp_path / "repaired.png") as saved:
        assert np.array_equal(saved, output.image) and dict(saved.getexif()) == {0x0112: 1, 0x010F: "a camera"}


def test_a_box_shows_a_hand_that_the_detector_misses():
    room = make_room("two_hands").blemish("left", "right")
    room.missed = {"left"}
    assert decisions(repair(room, dry_run=True)) == ["to_repair"]
    room.missed = set()
    left, right = (repair(room, which="all", dry_run=True).hands[k] for k in (0, 1))
    assert (left.side, right.side) == ("left", "right")

    room.missed = {"left"}
    seen = []

    def closer(image):
        seen.append(image.shape)
        if image.shape[1::-1] == room.image.size:
            return room.detect(image)
        return room.closer(left, image.shape[0]) if room.drawn is None else room.detect(image)

    output = repair(room, detector=closer, boxes=[left.box, right.box], judge=lambda *_: HandJudgement(False, "fine"))
    assert [hand.side for hand in output.hands] == ["right", "left"] and (256, 256, 3) in seen
    assert np.allclose(output.hands[1].box, left.box, atol=1.5)


def test_boxes_without_a_hand_and_wrong_boxes():
    room = make_room()
    output = repair(room, boxes=[(0, 150.5, 20, 200)])
    assert decisions(output) == ["left_alone", "not_found"]
    assert output.hands[1].box == (0, 150.5, 20, 200) and output.hands[1].side is None
    assert output.hands[1].reason == "no hand was found in the box"
    for box, message in [
        ((190, 10, 201, 20), r"box \(190, 10, 201, 20\) must lie inside the image of 200 x 200 pixels"),
        ((-1, 0, 5, 5), "must lie inside"),
        ((5, 5, 5, 9), "with left < right and top < bottom"),
        ((0, 0, float("nan"), 9), "with left < right"),
        ((1, 2, 3), "must be four numbers"),
        ("abcd", "must be four numbers"),
    ]:
        with pytest.raises(ValueError, match=message):
            repair(room, boxes=[box])


def test_given_hands_are_laid_on_those_that_were_found():
    room = make_room("two_hands")
    found = {hand.side: hand for hand in repair(room, which="all", dry_run=True).hands}
    pose = HandParams.zeros(1).replace(
        right_hand_pose=torch.linspace(-0.2, 0.2, 45)[None], hand_visible=torch.tensor([[False, True]])
    )
    wanted = {hand.side: hand.wanted for hand in repair(room, which="all", hands=pose, dry_run=True).hands}
    assert torch.equal(wanted["right"].right_hand_pose, pose.right_hand_pose)
    assert torch.equal(wanted["left"].left_hand_pose, pose.mirror().left_hand_pose)
    for side, hands in wanted.items():
        assert torch.equal(hands.camera, found[side].before.camera)
        assert torch.equal(hands.body_pose, found[side].before.body_pose)
        assert torch.equal(hands.hand_visible, found[side].before.hand_visible)
    with pytest.raises(ValueError, match="one row, or one for each of 2 hands, got 3"):
        repair(room, which="all", hands=HandParams.zeros(3), dry_run=True)
    with pytest.raises(ValueError, match="have no visible hand"):
        repair(room, which="all", hands=HandParams.zeros(), dry_run=True)


def test_a_fit_is_held_within_anatomical_limits():
    bent = HandParams.zeros(2).replace(
        right_hand_pose=torch.full((2, 45), 3.0), left_hand_pose=torch.full((2, 45), -3.0)
    )
    inside = within_limits(bent)
    assert torch.allclose(inside.mirror().left_hand_pose, within_limits(bent.mirror()).left_hand_pose)
    assert float(inside.right_hand_pose.amax()) == pytest.approx(np.radians(130))
    assert torch.equal(within_limits(inside).right_hand_pose, inside.right_hand_pose)
    usual = HandParams.zeros(1).replace(right_hand_pose=torch.full((1, 45), 0.1))
    assert torch.equal(within_limits(usual).right_hand_pose, usual.right_hand_pose)


def test_sampled_poses_are_those_of_the_pipeline_or_the_bundled_checkpoint():
    room = make_room("two_hands")

    def poses(painter, **options):
        output = repair_hands(
            room.image,
            painter,
            hands="sample",
            which="all",
            detector=room.detect,
            judge=room.judge,
            dry_run=True,
            **options,
        )
        return [hand.wanted.full_pose[0, 22:] for hand in output.hands]

    bundled = poses(None, prompt="a fist")
    assert torch.equal(bundled[0], poses(None, prompt="a fist")[0])
    assert not torch.equal(bundled[0], poses(None, prompt="a fist", seed=1)[0])
    with pytest.raises(ValueError, match="needs a `prompt`"):
        poses(None)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"tries": 0}, ValueError, "`tries` must be a whole number of at least 1, got 0"),
        ({"seed": -1}, ValueError, "`seed` must be a whole number of at least 0"),
        ({"strengths": (0.0, 0.5)}, ValueError, "`strengths` must be above 0 and at most 1"),
        ({"strengths": 0.5}, ValueError, "`strengths` must be two"),
        ({"which": "worst"}, ValueError, "`which` must be 'bad', 'all' or indices of hands, got 'worst'"),
        ({"which": 1}, TypeError, "`which` must be"),
        ({"which": [-1]}, ValueError, "got -1 among them"),
        ({"hands": "mine"}, ValueError, "`hands` must be 'fit', 'sample' or HandParams, got 'mine'"),
        ({"hands": 3}, TypeError, "`hand_params` must be HandParams"),
        ({"boxes": "1,2,3,4"}, TypeError, "`boxes` must be a sequence of boxes"),
        ({"detector": 4}, TypeError, "`detector` must be a callable"),
        ({"image": 4}, TypeError, "must be a path, a PIL image or an array"),
    ],
)
def test_wrong_arguments(options, kind, message):
    with pytest.raises(kind, match=message):
        repair(make_room(side=32), **options)
    with pytest.raises(ValueError, match="only a dry run draws nothing"):
        repair_hands(Image.new("RGB", (8, 8)), None)


def test_names_are_exported_at_the_top():
    assert diffusers_handiffuser.repair_hands is repair_hands
    assert {"repair_hands", "RepairOutput"} <= set(diffusers_handiffuser.__all__)

import json

import pytest
import torch

from diffusers_handiffuser import HandBodyModel, HandParams
from diffusers_handiffuser.evaluation import GestureRule, evaluate_text_to_hands, score_hands
from diffusers_handiffuser.studio import Scene, make_dataset

pytestmark = pytest.mark.filterwarnings("ignore:.*use `evaluate`:FutureWarning")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = make_dataset(tmp_path_factory.mktemp("data"), 48, "test", images=False, progress=False)
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def truth(rows):
    return HandParams.cat([HandParams.from_dict(row).reshape(1) for row in rows])


@pytest.fixture(scope="module")
def body_model():
    return HandBodyModel.procedural()


def scores(hands, rows, body_model):
    visible = torch.tensor([row["hand_visible"] for row in rows], dtype=torch.bool)
    return score_hands(hands, [Scene(**row["scene"]) for row in rows], visible, body_model)


def test_the_truth_scores_well(truth, rows, body_model):
    found = scores(truth, rows, body_model)
    assert found["visibility"].eq(1).all()
    assert found["gesture"].mean() > 0.9  # gestures jitter, and some are near neighbours
    assert found["finger_error"].max() < 12


def test_other_hands_score_badly(truth, rows, body_model):
    shuffled = scores(truth[torch.arange(len(rows)).roll(1)], rows, body_model)
    assert shuffled["gesture"].mean() < 0.3 and shuffled["finger_error"].mean() > 20
    mirrored = scores(truth.mirror(), rows, body_model)
    one_hand = torch.tensor([sum(row["hand_visible"]) == 1 for row in rows])
    assert mirrored["visibility"][one_hand].eq(0).all() and mirrored["gesture"][one_hand].eq(0).all()


def test_thumbs_up_is_not_thumbs_down():
    rule = GestureRule()
    names = [gesture.name for gesture in rule.gestures]
    thumb = next(gesture for gesture in rule.gestures if gesture.thumb_up > 0)
    pose = torch.zeros(45)
    distances = rule.distances(pose)
    assert distances.shape == (len(names),) and (distances > 0).all()
    from diffusers_handiffuser.studio.gestures import LONG_FINGERS, left_hand_pose

    pose = left_hand_pose(torch.tensor([thumb.fingers[finger] for finger in LONG_FINGERS]), torch.tensor(thumb.thumb))
    assert rule.check(pose, 0.1, thumb.name)[0] and not rule.check(pose, -0.1, thumb.name)[0]


class Oracle:
    """Plays a pipeline whose stage 1 knows the answers, or is wrong on every other sample."""

    def __init__(self, truth, body_model, rows, wrong):
        self.body_model, self.wrong = body_model, wrong
        self.answers = {row["text"]: i for i, row in enumerate(rows)}
        self.truth, self.seeds = truth, []

    def sample_hand_params(self, prompts, num_images_per_prompt, hand_generator):
        self.seeds += [generator.initial_seed() for generator in hand_generator]
        numbers = [self.answers[prompt] for prompt in prompts for _ in range(num_images_per_prompt)]
        if self.wrong:
            numbers = [(n + k % 2) % len(self.truth) for k, n in enumerate(numbers)]
        return self.truth[torch.tensor(numbers)]


def test_evaluates_a_pipeline(truth, rows, body_model):
    oracle = Oracle(truth, body_model, rows, wrong=False)
    report = evaluate_text_to_hands(oracle, rows, samples=2, seed=5, batch_size=20)
    assert oracle.seeds == list(range(5, 5 + 2 * len(rows)))
    assert report["visibility"].value == 1 and report["diversity"].value < 0.05 and report["gesture"].n == len(rows)
    half = evaluate_text_to_hands(Oracle(truth, body_model, rows, wrong=True), rows, samples=2)
    assert half["gesture"].high < report["gesture"].low and half["diversity"].value > 5
    assert report["side_consistency"].value > 0.95 and report["limit_violations"].value == 0
    assert half["side_consistency"].value < 0.9
    assert report["parameter_fid"].value < 1e-3  # every hand comes twice, which changes n - 1
    posed = evaluate_text_to_hands(Oracle(truth.mirror()[:1].reshape(1), body_model, rows[:1], wrong=False), rows[:1])
    assert posed["side_consistency"].value == 0


def test_bad_input(truth, rows, body_model):
    with pytest.raises(ValueError, match="`samples`"), pytest.warns(FutureWarning, match="use `evaluate`"):
        evaluate_text_to_hands(None, rows, samples=0)
    with pytest.raises(ValueError, match="`rows`"):
        evaluate_text_to_hands(None, [{"text": "a hand"}])

from diffusers_handiffuser.studio import sample_scene
from diffusers_handiffuser.studio.language.collected import collected_sentences
from diffusers_handiffuser.training.engine.live_captions import LiveCaptions

GIVEN = ["a lighthouse in fog", "an empty swimming pool"]


def scenes(kind):
    return [sample_scene(0, "train", index, kind=kind).to_dict() for index in range(20)]


def write(captions, number=400):
    return [captions.write(index % 20, index) for index in range(number)]


def test_given_sentences_are_captions_of_scenes_without_hands_only():
    without = write(LiveCaptions(scenes("empty"), "natural", GIVEN))
    assert 0.35 < sum(caption in GIVEN for caption in without) / len(without) < 0.65
    assert not set(write(LiveCaptions(scenes("close_up"), "natural", GIVEN))) & set(GIVEN)
    assert not set(write(LiveCaptions(scenes("empty"), "studio", GIVEN))) & set(GIVEN)
    assert 0.15 < sum(caption in GIVEN for caption in write(LiveCaptions(scenes("empty"), "both", GIVEN))) / 400 < 0.35


def test_languages():
    rows = scenes("close_up")
    captions = LiveCaptions(rows, "studio")
    assert captions.write(3, 5) == captions.write(3, 5) != captions.write(3, 6)
    natural = write(LiveCaptions(rows, "natural"))
    texts = {
        sentence.text for row in rows for name in row["gestures"].values() for sentence in collected_sentences(name)
    }
    collected = [caption for caption in natural if any(text.rstrip(".!") in caption for text in texts)]
    assert 60 < len(collected) < 200
    assert len(set(natural)) > 390

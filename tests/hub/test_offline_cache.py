"""The cache without the Hub: shards, variants, and what is not there."""

import pytest
from huggingface_hub import constants
from releases import close_session, loads_a_part_of_a_repository_offline

from diffusers_handiffuser import HandBodyModel, HanDiffuserPipeline, TextHandEncoder, TextToHandParamsModel

PARTS = {
    "text_encoder": TextHandEncoder,
    "text_to_hand_params": TextToHandParamsModel,
    "body_model": HandBodyModel,
}


@pytest.fixture(params=["offline mode", "local_files_only"])
def go_offline(request, hub, monkeypatch):
    """Returns the options of loading from now on."""

    def go() -> dict[str, bool]:
        hub.take_requests()
        if request.param == "local_files_only":
            return {"local_files_only": True}
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        close_session()
        return {}

    yield go
    assert hub.requests == []


def test_shards(hub, pipe, tmp_path, go_offline):
    """The whole, and each part by itself."""
    pipe.save_pretrained(tmp_path / "sharded", max_shard_size="60KB")
    hub.put_folder("someone/sharded", tmp_path / "sharded")
    hub.put_folder("someone/part", tmp_path / "sharded")
    HanDiffuserPipeline.from_pretrained("someone/sharded")
    TextHandEncoder.from_pretrained("someone/part", subfolder="text_encoder")
    options = go_offline()
    assert HanDiffuserPipeline.from_pretrained("someone/sharded", **options).unet is not None
    for name, model_class in PARTS.items():
        assert len(list((tmp_path / "sharded" / name).glob("*.safetensors"))) > 1 or name == "body_model"
        model_class.from_pretrained("someone/sharded", subfolder=name, **options)
    TextHandEncoder.from_pretrained("someone/part", subfolder="text_encoder", **options)
    with pytest.raises(OSError, match="HandBodyModel from 'someone/part/body_model'"):
        HandBodyModel.from_pretrained("someone/part", subfolder="body_model", **options)


@loads_a_part_of_a_repository_offline
def test_a_variant_alone(hub, pipe, tmp_path, go_offline):
    """Is what the message names, whether or not the Hub has the default, too."""
    pipe.save_pretrained(tmp_path / "both")
    pipe.save_pretrained(tmp_path / "both", variant="fp16", max_shard_size="60KB")
    hub.put_folder("someone/both", tmp_path / "both")
    HanDiffuserPipeline.from_pretrained("someone/both", variant="fp16")
    options = go_offline()
    assert HanDiffuserPipeline.from_pretrained("someone/both", variant="fp16", **options).unet is not None
    for model_class, part in [*((cls, {"subfolder": name}) for name, cls in PARTS.items()), (HanDiffuserPipeline, {})]:
        with pytest.raises(OSError, match=r"there are weights for variant='fp16'\.$") as caught:
            model_class.from_pretrained("someone/both", **part, **options)
        assert "\n" not in str(caught.value)
        model_class.from_pretrained("someone/both", variant="fp16", **part, **options)


@pytest.mark.parametrize("there, asked_for", [("fp16", None), (None, "fp16")])
def test_the_same_in_a_folder(pipe, tmp_path, there, asked_for):
    pipe.save_pretrained(tmp_path / "one", variant=there)
    for name, model_class in PARTS.items():
        with pytest.raises(OSError, match=f"there are weights for variant={there!r}"):
            model_class.from_pretrained(tmp_path / "one", subfolder=name, variant=asked_for)
    if asked_for is None:
        with pytest.raises(OSError, match=f"there are weights for variant={there!r}"):
            HanDiffuserPipeline.from_pretrained(tmp_path / "one", variant=asked_for)

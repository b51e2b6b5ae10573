"""experiments/repair_controlnet.py: the ControlNet learns, the model that it helps does not."""

import copy

import pytest
from diffusers import ControlNetModel

from diffusers_handiffuser import MINI, HandBodyModel
from diffusers_handiffuser.data.dataset import HandDataset
from diffusers_handiffuser.studio import make_dataset


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    make_dataset(folder, 6, seed=3, size=128, handless=0.3)
    return folder


def test_it_is_trained_with_the_depth_of_the_hands(rows, tmp_path):
    from repair_controlnet import draw_depths, main

    hands = HandDataset(rows).hand_params
    depths = draw_depths(hands, HandBodyModel.procedural(), 128)
    assert depths.shape == (6, 3, 128, 128)
    assert (depths.flatten(1).amax(1) > 0).tolist() == hands.hand_visible.any(-1).tolist()
    assert not hands.hand_visible.any(-1).all()

    options = ["--init_from", MINI, "--pretrained_vae_model_name_or_path", f"{MINI}/vae", "--tokenizer_name"]
    options += [f"{MINI}/tokenizer", "--train_data_dir", rows, "--output_dir", tmp_path, "--resolution", "128"]
    options += ["--max_train_steps", "2", "--train_batch_size", "2", "--random_flip", "--mixed_precision", "no"]
    options += ["--num_validation_rows", "0", "--joint_loss_weight"]
    main([str(option) for option in [*options, "0"]])
    controlnet = ControlNetModel.from_pretrained(tmp_path / "controlnet")
    assert controlnet.controlnet_mid_block.weight.abs().max() > 0  # zero before
    with pytest.raises(ValueError, match="--joint_loss_weight must be 0"):
        main([str(option) for option in [*options, "0.5"]])


def test_the_unet_is_frozen(make_pipe):
    from repair_controlnet import DepthObjective

    pipe = make_pipe()
    unet, text_encoder = copy.deepcopy(pipe.unet), copy.deepcopy(pipe.text_encoder)  # others use these, too
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32))
    objective = DepthObjective(unet, text_encoder, controlnet)
    learning = {name.split(".")[0] for name, value in objective.named_parameters() if value.requires_grad}
    assert learning == {"controlnet"}

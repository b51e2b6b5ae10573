"""Checkpoints that commands are run with."""

import copy

import pytest
import torch


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, make_pipe):
    """A tiny one with random weights."""
    folder = tmp_path_factory.mktemp("tiny checkpoint")
    make_pipe().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def handless(tmp_path_factory, make_pipe):
    """A checkpoint whose stage 1 shows no hand, whatever the sentence."""
    model = copy.deepcopy(make_pipe().text_to_hand_params)
    with torch.no_grad():
        model.camera_out.weight[3:].zero_()
        model.camera_out.bias[3:].fill_(-5.0)
    folder = tmp_path_factory.mktemp("handless checkpoint")
    make_pipe(text_to_hand_params=model).save_pretrained(folder)
    return str(folder)

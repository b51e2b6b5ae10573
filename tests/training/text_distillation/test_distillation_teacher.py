import numpy as np
import pytest
import torch
from accelerate import Accelerator
from transformers import AutoModel, AutoTokenizer

from diffusers_handiffuser.training.text_distillation.teacher import cache_teacher_states, mean_pool, mean_words
from diffusers_handiffuser.training.text_distillation.texts import tokenize_sentences


def test_teacher_states_are_its_own(teacher_dir, fresh_accelerator, tmp_path):
    model, tokenizer = AutoModel.from_pretrained(teacher_dir).eval(), AutoTokenizer.from_pretrained(teacher_dir)
    sentences = ["a fist", "two hands making horns, a vase!", "x"]
    tokens = tokenize_sentences(tokenizer, sentences)
    states = cache_teacher_states(model, tokens, "key", tmp_path, Accelerator(cpu=True))
    for number, sentence in enumerate(sentences):
        alone = tokenizer(sentence, return_tensors="pt")
        with torch.no_grad():
            whole = model(alone.input_ids).last_hidden_state[0]
        pooled = torch.nn.functional.normalize(whole.mean(0), dim=0)
        torch.testing.assert_close(torch.tensor(states.sentences[number]).float(), pooled, atol=2e-3, rtol=0)
    words = states.batch(np.array([1]), tokens.num_words[[1]])["word_states"]
    assert len(words) == 8 == tokens.num_words[1]


def test_means():
    states = torch.tensor([[[9.0], [1], [3], [5], [9]], [[9.0], [7], [9], [9], [9]]])
    words = torch.tensor([[-1, 0, 0, 1, -1], [-1, 0, -1, -1, -1]])
    assert mean_words(states, words).tolist() == [[2.0], [5.0], [7.0]]
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    assert mean_pool(states, mask).flatten().tolist() == pytest.approx([27 / 5, 8.0])

"""A tiny BERT as the teacher, and sentences of its words."""

import torch
from transformers import BertConfig, BertModel

from diffusers_handiffuser.training.text_distillation.vocabulary import build_tokenizer, save_tokenizer

LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
WORDS = [
    *("hand", "hands", "fist", "thumb", "horns", "peace", "sign", "two", "left", "right", "making", "showing"),
    *("rocker", "waving", "vase", "##ing"),
]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *".,!'-", *LETTERS, *(f"##{c}" for c in LETTERS), "漢", *WORDS]
WHO, DOES = ("rocker", "left hand", "right hand", "two hands"), ("making", "showing", "waving")
WHAT = ("a fist", "horns", "a peace sign", "a thumb", "a vase")
SENTENCES = [f"a {who} {does} {what}" for who in WHO for does in DOES for what in WHAT]


def write_teacher(folder) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(PIECES), initializer_range=0.2, **sizes)).eval().save_pretrained(folder)
    save_tokenizer(build_tokenizer(PIECES), folder)

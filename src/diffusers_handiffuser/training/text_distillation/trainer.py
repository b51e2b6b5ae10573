r"""Distils a small text encoder for stage 1 from a sentence encoder: a BERT with its tokenizer, for English.

    python -m diffusers_handiffuser.training.text_distillation --teacher TEACHER --text captions.txt english.txt \
        --output_dir OUT --vocab_size 12000 --max_train_minutes 60

`OUT/hand_text_encoder` (float16 on disk, float32 when loaded) and `OUT/hand_tokenizer` are the result: a
`transformers.BertModel` and its WordPiece tokenizer, whose vocabulary is the teacher's, pruned to the pieces that the
texts need. The teacher is a folder or Hub id of a BERT-like model whose sentence embedding is the mean of its last
states: all-MiniLM-L6-v2 is one.

The student's weights start at random. From each sentence of the texts, one a line, it learns three things: the
teacher's embedding, through a linear map that is thrown away; the states of its words, likewise; and the cosines
between the sentences of a batch, without a map, so that the student's own mean states can be compared.

With `--scenes`, rows of `handiffuser data make`, it also learns what captions say: a new caption of a scene is written
whenever one is trained on, and linear classifiers, thrown away too, read from the student's states which hands there
are, their gestures, how the camera sees them and where they point.

In the first `--embedding_steps` the layers are skipped: the word embeddings alone learn most of what words mean, at a
small part of the cost.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from transformers import AutoModel, BertModel, PreTrainedTokenizerFast

from ...hub.saving import strip_load_paths, write_json
from ...utils.atomic_files import atomic_write_dir
from ..engine.option_parser import JsonObject, OptionParser, option
from ..engine.options import TrainingOptions, refuse_below_one, refuse_negative
from ..engine.randomness import BatchRandom
from ..engine.run import TrainingRun, count_training_rows, start_run
from ..engine.sentences import read_sentences
from ..engine.weights import load_model
from .objective import DistillationObjective, TeacherHeads, new_student
from .scenes import SceneCaptions, SceneHeads, scene_accuracies
from .teacher import TeacherStates, cache_teacher_states
from .texts import (
    TokenizedSentences,
    blocks_of_like_length,
    fingerprint,
    shuffle_sentences,
    tokenize_sentences,
)
from .vocabulary import build_tokenizer, load_tokenizer, prune_vocabulary, save_tokenizer

_VALIDATION_SEED, _VALIDATION_CAPTIONS = 0, 512


@dataclass
class TextOptions:
    """What is learned from."""

    _argument_group_name: ClassVar[str] = "text"

    teacher: str = option(help="a sentence encoder with a WordPiece tokenizer: folder or Hub id")
    text: list[str] = option(help="text files, a sentence a line")
    num_validation_rows: int = option(512, help="sentences, at random, that are held out for validation")
    block_size: int = option(64, help="sentences of like length that are computed together; batches count blocks")
    cache_dir: str | None = option(None, help="where the teacher's states are kept (default: .cache in the output)")

    def __post_init__(self) -> None:
        refuse_negative(self, "num_validation_rows")
        refuse_below_one(self, "block_size")


@dataclass
class StudentOptions:
    """What learns."""

    _argument_group_name: ClassVar[str] = "student"

    vocab_size: int = option(12000, help="pieces of the tokenizer, at most")
    kept_text: list[str] | None = option(None, help="text files all of whose pieces stay in the vocabulary")
    tokenizer_name: str | None = option(None, help="a tokenizer of an earlier run in place of a new one: its folder")
    text_encoder_config: JsonObject = option({}, help="JSON: changes to the default configuration")
    init_from: str | None = option(None, help="output folder of an earlier run with this tokenizer to start from")
    embedding_steps: int = option(0, help="steps, from the first, that skip the layers")

    def __post_init__(self) -> None:
        refuse_negative(self, "embedding_steps")
        if self.init_from is not None and self.tokenizer_name is None:
            raise ValueError("--init_from needs --tokenizer_name: its embeddings belong to that vocabulary")


@dataclass
class SceneOptions:
    """What is learned from the studio's scenes."""

    _argument_group_name: ClassVar[str] = "scenes"

    scenes: str | None = option(None, help="a data set of `handiffuser data make`, with or without images")
    scene_captions: int = option(128, help="new captions of scenes for each of a batch's blocks")
    scene_language: Literal["studio", "natural", "both"] = option(
        "both", help="their language: the studio's own, natural sentences, or half and half"
    )
    handless_text: list[str] | None = option(
        None,
        help="text files, a sentence a line, that ask for no hand; captions of a part of the scenes without hands",
    )
    scene_loss_weight: float = option(1.0, help="of the cross-entropies of what captions say")

    def __post_init__(self) -> None:
        if self.handless_text and (self.scenes is None or self.scene_language == "studio"):
            raise ValueError("--handless_text needs --scenes, and --scene_language natural or both")
        refuse_below_one(self, "scene_captions")
        refuse_negative(self, "scene_loss_weight")


@dataclass
class TextDistillationOptions(TrainingOptions):
    """Distil a small text encoder for stage 1 from a sentence encoder."""

    data: TextOptions
    student: StudentOptions
    scenes: SceneOptions


class DistillationRows:
    """Batches of sentences, as the student reads them, with what the teacher makes of them.

    Args:
        tokens (`TokenizedSentences`): the student's.
        states (`TeacherStates`): of the same sentences.
        device (`torch.device`): of the batches.
    """

    def __init__(self, tokens: TokenizedSentences, states: TeacherStates, device: torch.device):
        self.tokens, self.states, self.device = tokens, states, device

    def batch(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """What `DistillationObjective.forward` takes."""
        states = self.states.batch(rows, self.tokens.num_words[rows], self.device)
        return {**self.tokens.batch(rows, self.device), **states}


def new_tokenizer(
    options: StudentOptions, teacher: PreTrainedTokenizerFast, sentences: Sequence[str]
) -> PreTrainedTokenizerFast:
    """The tokenizer of an earlier run, or a new one whose vocabulary is the teacher's, pruned."""
    if options.tokenizer_name is not None:
        return load_tokenizer(options.tokenizer_name)
    kept = read_sentences(options.kept_text or [])
    return build_tokenizer(prune_vocabulary(teacher, sentences, options.vocab_size, kept))


def load_rows(
    options: TextDistillationOptions,
    sentences: Sequence[str],
    teacher_tokenizer: PreTrainedTokenizerFast,
    tokenizer: PreTrainedTokenizerFast,
    accelerator: Accelerator,
) -> DistillationRows:
    """The sentences as the student reads them, with the teacher's states, which are cached."""
    teacher = AutoModel.from_pretrained(options.data.teacher, dtype=torch.float32)
    cache_dir = Path(options.data.cache_dir or Path(options.run.output_dir, ".cache"))
    tokens = tokenize_sentences(teacher_tokenizer, sentences)
    states = cache_teacher_states(teacher, tokens, fingerprint(sentences), cache_dir, accelerator)
    return DistillationRows(tokenize_sentences(tokenizer, sentences), states, accelerator.device)


def make_parser() -> OptionParser:
    return OptionParser(
        TextDistillationOptions,
        defaults={
            "learning_rate": 1e-3,
            "lr_scheduler": "cosine",
            "lr_warmup_steps": 100,
            "train_batch_size": 4,
            "checkpoints_total_limit": 2,
        },
        prog="python -m diffusers_handiffuser.training.text_distillation",
    )


def parse_args(argv: Sequence[str] | None = None) -> TextDistillationOptions:
    return make_parser().parse(argv)


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_args(argv)
    accelerator = start_run(options, find_unused_parameters=True)
    sentences = shuffle_sentences(read_sentences(options.data.text), options.run.seed)
    num_train = count_training_rows(len(sentences), options.data.num_validation_rows)
    teacher_tokenizer = load_tokenizer(options.data.teacher)
    tokenizer = new_tokenizer(options.student, teacher_tokenizer, sentences)
    with accelerator.main_process_first():
        save_tokenizer(tokenizer, Path(options.run.output_dir, "hand_tokenizer"))
    rows = load_rows(options, sentences, teacher_tokenizer, tokenizer, accelerator)
    blocks = blocks_of_like_length(rows.tokens.lengths[:num_train], options.data.block_size)

    torch.manual_seed(options.run.seed)
    student = new_student(options.student.text_encoder_config, tokenizer)
    if options.student.init_from is not None:
        load_model(student, Path(options.student.init_from, "hand_text_encoder"))
    heads = TeacherHeads(student.config.hidden_size, rows.states.sentences.shape[1])
    models: dict[str, nn.Module] = {"hand_text_encoder": student, "heads": heads}
    scenes, captions, scene_heads = options.scenes, None, None
    if scenes.scenes is not None:
        handless = read_sentences(scenes.handless_text or [])
        captions = SceneCaptions(scenes.scenes, scenes.scene_language, tokenizer, accelerator.device, handless)
        scene_heads = SceneHeads(student.config.hidden_size, captions.gestures)
        models["scene_heads"] = scene_heads
    objective = DistillationObjective(student, heads, scene_heads, scenes.scene_loss_weight)
    run = TrainingRun(options, accelerator, objective, models, len(blocks))

    def compute_loss(numbers: np.ndarray, random: BatchRandom) -> dict[str, torch.Tensor]:
        embeddings_only = run.step < options.student.embedding_steps
        scene_batch = None
        if captions is not None and not embeddings_only:
            seed = int(random.integers(2**62)[0])
            scene_batch = captions.batch(seed, scenes.scene_captions * len(numbers))
        return run.objective([rows.batch(blocks[number]) for number in numbers], embeddings_only, scene_batch)

    held_out = [num_train + block for block in blocks_of_like_length(rows.tokens.lengths[num_train:], 512)]

    def validate(objective: DistillationObjective) -> dict[str, float]:
        losses = objective([rows.batch(block) for block in held_out]) if held_out else {}
        numbers = {name: value.item() for name, value in losses.items()}
        if captions is not None:
            batch = captions.batch(_VALIDATION_SEED, _VALIDATION_CAPTIONS)
            first, _ = objective.read_scenes(batch["input_ids"], batch["attention_mask"])
            numbers |= scene_accuracies(first, batch["targets"])
        return numbers

    run.train(compute_loss, validate)
    with run.whole_objective() as whole:
        if whole is not None:
            save_student(whole.student, run.output_dir / "hand_text_encoder")
            run.log({"saved": "hand_text_encoder"})
    run.close()


def save_student(student: BertModel, folder: Path) -> None:
    """Writes the student, and leaves it, in half precision; it loads in float32."""
    with atomic_write_dir(folder) as temporary:
        student.half().save_pretrained(temporary)
        strip_load_paths(temporary)
        config = json.loads((temporary / "config.json").read_text(encoding="utf-8"))
        write_json(temporary / "config.json", {**config, "dtype": "float32"})

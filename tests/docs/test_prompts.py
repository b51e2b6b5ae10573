"""The bundled checkpoint reads the prompts of README, notebook and pages, and what a page says that it reads."""

import json
import re
from pathlib import Path

import pytest
import torch
from pages import DOCS

from diffusers_handiffuser import MINI, HanDiffuserPipeline
from diffusers_handiffuser.evaluation import read_caption
from diffusers_handiffuser.evaluation.metrics.hand_facts import EITHER, HandFacts, TextFacts
from diffusers_handiffuser.evaluation.metrics.text_agreement import SeenHands, score_seen

SEEDS = {"README and notebook": 20, "a page": 4}
"""One of which may be wrong."""

_SAMPLED = re.compile(r'(?:sample_hand_params\(|handiffuser (?:generate|hands|condition) )\s*"([^"\n…]+)"')
_DRAWN = re.compile(r'(?:pipe\(|prompt = )"([^"\n…]+)"')
_WITH_GIVEN_HANDS = {
    "a hand with pale skin",
    "a person with two open hands",
    "a right hand making a peace sign, pale skin",
}

OPEN = HandFacts(("open_hand", "fingers_11111"))
BOTH_OPEN = TextFacts({"left": OPEN, "right": OPEN}, 2)
IN_OTHER_WORDS = {"two waving hands": BOTH_OPEN, "a person waving with both hands": BOTH_OPEN}

PHRASES = {
    "a drummer throws the horns": TextFacts({EITHER: HandFacts(("horns",))}),
    "a V for victory": TextFacts({EITHER: HandFacts(("peace",))}),
    "a man waving with the left hand": TextFacts({"left": OPEN}, 1),
    "a fist, her left hand": TextFacts({"left": HandFacts(("fist",))}, 1),
    "a peace sign from the back": TextFacts({EITHER: HandFacts(("peace",), view="back")}),
    "a right hand making a thumbs down": TextFacts({"right": HandFacts(("thumbs_down",), turn="down")}, 1),
    "a second-hand bookshop": TextFacts(number=0),
}
"""Of `docs/getting-started.md`."""


def prompts() -> dict[str, tuple[TextFacts, str]]:
    """What each prompt says, and where it stands."""
    notebook = json.loads((DOCS.parent / "examples/quickstart.ipynb").read_text(encoding="utf-8"))
    first = ["".join(cell["source"]) for cell in notebook["cells"]] + [text_of(DOCS.parent / "README.md")]
    recipes = sorted((DOCS / "recipes").glob("*.md"))
    others = [text_of(page) for page in sorted(set(DOCS.rglob("*.md")) - {*recipes, DOCS / "training.md"})]
    found = dict.fromkeys(PHRASES, "a page")
    for texts, patterns, place in (
        ([text_of(page) for page in recipes], (_SAMPLED,), "a page"),  # other models draw there
        (others, (_SAMPLED, _DRAWN), "a page"),
        (first, (_SAMPLED, _DRAWN), "README and notebook"),
    ):
        found |= {prompt: place for text in texts for pattern in patterns for prompt in pattern.findall(text)}
    known = {**IN_OTHER_WORDS, **PHRASES}
    return {
        prompt: (known[prompt] if prompt in known else read_caption(prompt), place)
        for prompt, place in sorted(found.items())
        if prompt not in _WITH_GIVEN_HANDS
    }


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def mini():
    pipe = HanDiffuserPipeline.from_pretrained(MINI)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_what_prompts_say_is_known():
    said = prompts()
    assert len(said) >= 20 and {place for _, place in said.values()} == set(SEEDS)
    assert [prompt for prompt, (facts, _) in said.items() if not facts.hands and facts.number != 0] == []
    assert [prompt for prompt, (facts, _) in said.items() if not all(h.gestures for h in facts.hands.values())] == []


def test_the_page_names_the_phrases():
    page = " ".join(text_of(DOCS / "getting-started.md").split())
    assert [phrase for phrase in PHRASES if f'"{phrase}"' not in page] == []


@pytest.mark.slow
@pytest.mark.parametrize("prompt", prompts())
def test_the_hands_are_what_the_words_say(mini, prompt):
    facts, place = prompts()[prompt]
    generators = [torch.Generator().manual_seed(seed) for seed in range(SEEDS[place])]
    hands = mini.sample_hand_params([prompt] * len(generators), hand_generator=generators)
    scores = torch.stack(list(score_seen(SeenHands(hands, mini.body_model), [facts] * len(generators)).values()))
    assert (scores.isnan() | (scores == 1)).all(0).sum() >= len(generators) - 1

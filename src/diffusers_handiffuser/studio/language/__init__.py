"""Sentences about scenes, and about scenes without hands, as people write them when they ask for an image."""

from .sentences import Sentence, handless_caption, handless_sentence, natural_caption, natural_sentence

__all__ = ["Sentence", "handless_caption", "handless_sentence", "natural_caption", "natural_sentence"]

"""Distillation of a small text encoder for stage 1 from a sentence encoder."""

"""Stage 1: text to hand parameters."""

"""Stage 2: text and hands to an image."""

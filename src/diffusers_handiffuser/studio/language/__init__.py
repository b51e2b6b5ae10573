"""Sentences about scenes, and about scenes without hands, as people write them when they ask for an image."""

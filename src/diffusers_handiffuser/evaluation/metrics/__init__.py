"""Scores, each with its interval."""

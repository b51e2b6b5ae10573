"""Hands found in images, and bodies fitted to landmarks."""

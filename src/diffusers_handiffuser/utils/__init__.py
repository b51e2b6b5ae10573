"""Helpers without a room of their own: atomic files, command lines, messages, types."""

"""HanDiffuser as modular blocks."""

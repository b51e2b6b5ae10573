"""The engine of the training programs: options, loop, checkpoints, randomness, logging, publishing."""

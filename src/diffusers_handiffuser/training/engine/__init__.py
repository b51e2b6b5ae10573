"""What the training programs share: options, loop, checkpoints, randomness, logging, publishing."""

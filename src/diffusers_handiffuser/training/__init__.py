"""Training: a program for each trained part, over one engine.

Each has a `--help`; docs/training.md shows how they work together.

- `python -m diffusers_handiffuser.training.text_to_hand_params`: stage 1, text to SMPL-H parameters;
- `python -m diffusers_handiffuser.training.hand_params_to_image`: stage 2, text and hands to an image.

Where there is no Stable Diffusion to start from:

- `python -m diffusers_handiffuser.training.tokenizer`: a small CLIP-format tokenizer from the captions of a data set;
- `python -m diffusers_handiffuser.training.vae`: the image autoencoder;
- `python -m diffusers_handiffuser.training.text_hand_encoder`: prepares the Text+Hand encoder for stage 2.

`engine.run.TrainingRun` is the loop: batches, optimiser, checkpoints, resume. Randomness is keyed by (seed, step), see
`engine.randomness.BatchRandom`: a resumed run needs no stored random state to end bit-equal to an uninterrupted one,
and the random numbers of a row do not depend on how many processes share a batch.
"""

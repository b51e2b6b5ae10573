"""Training: one program for each trained part, and the frame that they share.

Each explains itself with `--help`; docs/training.md tells how they go together.

- `python -m diffusers_handiffuser.training.text_to_hand_params`: stage 1, text to SMPL-H parameters;
- `python -m diffusers_handiffuser.training.hand_params_to_image`: stage 2, text and hands to a picture.

Where there is no Stable Diffusion to start from:

- `python -m diffusers_handiffuser.training.tokenizer`: a small CLIP-format tokenizer from the captions of a data set;
- `python -m diffusers_handiffuser.training.vae`: the picture autoencoder;
- `python -m diffusers_handiffuser.training.text_hand_encoder`: prepares the Text+Hand encoder for stage 2.

`run.TrainingRun` is the loop: batches, optimiser, checkpoints, resume. Randomness is keyed by (seed, step), see
`randomness.BatchRandom`: a resumed run needs no stored random state to continue exactly where an uninterrupted one
would be, and what a row draws does not depend on how many processes share a batch.
"""

"""Training: data sets, losses, and one module per trained part.

Each of the four programs explains itself with `--help`:

- `python -m diffusers_handiffuser.training.tokenizer`: a small CLIP-format tokenizer from the captions of a data set;
- `python -m diffusers_handiffuser.training.vae`: the picture autoencoder;
- `python -m diffusers_handiffuser.training.text_to_hand_params`: stage 1, text to SMPL-H parameters;
- `python -m diffusers_handiffuser.training.hand_params_to_image`: stage 2, text and hands to a picture.

Randomness is keyed by (seed, step), see `run.BatchRandom`: a resumed run needs no stored random state to continue
exactly where an uninterrupted one would be, and what a row draws does not depend on how many processes share a batch.
"""

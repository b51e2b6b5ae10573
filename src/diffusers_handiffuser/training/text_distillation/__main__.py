"""`python -m diffusers_handiffuser.training.text_distillation`."""

from ...utils.command_line import run_as_command
from .trainer import main

run_as_command(main)

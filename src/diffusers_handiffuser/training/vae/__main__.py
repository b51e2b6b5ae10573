"""`python -m diffusers_handiffuser.training.vae`."""

from ...utils.command_line import run_as_command
from .trainer import main

run_as_command(main)

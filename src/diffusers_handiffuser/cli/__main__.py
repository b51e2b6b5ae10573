"""`python -m diffusers_handiffuser.cli`."""

import sys

from . import main

sys.exit(main())

"""4. Put the results of examples 2 and 3 on the Hub.

    hf auth login
    python examples/04_publish.py --user me

The trainers do the same at the end of a run with `--push_to_hub --hub_model_id me/my-handiffuser`. Checkpoints, logs
and caches are not uploaded, nor are the arrays of a licensed body, of which only the SHA-256 is stored. `HF_ENDPOINT`
selects another Hub, such as the one that the tests start on this machine.
"""

import argparse
from pathlib import Path

from diffusers_handiffuser.cli import main as handiffuser
from diffusers_handiffuser.hub.saving import push_folder

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--work", type=Path, default=Path("run"), help="where the previous examples wrote")
parser.add_argument("--user", required=True, help="your name on the Hub")
args = parser.parse_args()

handiffuser(["push", str(args.work / "stage_2"), f"{args.user}/my-handiffuser"])  # as on the command line
print(push_folder(args.work / "lora", f"{args.user}/my-handiffuser-lora"))

"""`python -m retscale`, so that a launcher can start it: `accelerate launch -m retscale finetune ...`."""

import sys

from retscale.cli import main

sys.exit(main())

"""`python -m retscale`, so that `accelerate launch -m retscale finetune` works."""

import sys

from retscale.cli import main

sys.exit(main())

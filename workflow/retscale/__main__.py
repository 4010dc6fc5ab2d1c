"""`python -m retscale`, so that a launcher can start it."""

import sys

from retscale.cli import main

sys.exit(main())

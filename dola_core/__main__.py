"""`python -m dola_core`: the comparison in a terminal."""

import sys

from dola_core.cli.compare import main

sys.exit(main())

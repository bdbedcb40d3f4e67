"""``python -m flows.cli``: the `motherlode` command without its script."""

import sys

from flows.cli import main

sys.exit(main())

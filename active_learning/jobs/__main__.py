"""``python -m active_learning.jobs JOB_DIRECTORY``."""

import sys

from active_learning.jobs.runner import main

sys.exit(main())

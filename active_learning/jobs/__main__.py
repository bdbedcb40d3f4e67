"""``python -m active_learning.jobs JOB_DIRECTORY``."""

import os
import sys

from active_learning.jobs.runner import main

# What a calculation leaves is its owner's to read.
os.umask(0o077)
sys.exit(main())

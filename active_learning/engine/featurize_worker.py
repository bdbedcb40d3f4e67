"""The process that featurizes: ``python -m active_learning.engine.featurize_worker TASK``; see `featurizing`.

Reads "start stop" lines, writes the chunk of these rows to the cache, answers "done". Ends with its input, so it
does not outlive the campaign's process.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from active_learning.engine.featurizing import ChunkCache, FeaturizerAddress
from active_learning.engine.pool_file import PoolFile
from active_learning.plugins import load

__all__ = ["main"]


def main() -> int:
    """Serve until the input ends."""
    task = json.loads(sys.argv[1])
    address = FeaturizerAddress(**task["featurizer"])
    sys.path.extend(address.python_path)
    plugin = load("featurizers", address.kind)
    featurizer = plugin(plugin.Options.model_validate(address.options))
    pool, cache = PoolFile(Path(task["pool"])), ChunkCache(Path(task["cache"]), address)
    # Answers go to a copy of stdout; what libraries print goes to stderr, and cannot be taken for an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    featurizer.names  # noqa: B018 - loads what is heavy
    print("ready", file=answers)
    for line in sys.stdin:
        start, stop = map(int, line.split())
        cache.save(pool.ids[start:stop], featurizer.featurize(pool.candidates(start, stop)))
        print("done", file=answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())

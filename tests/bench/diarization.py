"""What diarizing in chunks costs: DER of voices-demo over generated conversations, whole against cut at silences.

    python tests/bench/diarization.py [--count 24]

Conversations of 1 to 4 synthetic speakers with exact truth are made anew (libespeak-ng1, or the wheel espeakng-loader).
DER has a collar of 0.25 s on each side. `alone`: each chunk finds its own speech, as a machine would that has only it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from bench.figures import figure  # noqa: E402


def main() -> None:
    """Make the conversations, diarize each twice."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--count", type=int, default=24)
    given = arguments.parse_args()
    from auricle.transcripts.scoring import diarization_error
    from auricle_gpu.bench import diarization_in_chunks, read_conversations
    from auricle_gpu.pool import Pool, SpeechSettings

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "builders.conversations.write", folder, "--count", str(given.count)]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": str(TESTS)}, check=True)
        diarizer = Pool(SpeechSettings()).diarizer("voices-demo")
        error = partial(diarization_error, collar=0.25)
        for alone in (False, True):
            cost = diarization_in_chunks(read_conversations(Path(folder)), diarizer, error, chunks=3, alone=alone)
            how = "each chunk finds its own speech" if alone else "speech found once, as `prepare` does"
            figure("DER whole", 100 * cost.whole_error, "%", note=f"{len(cost.rows)} conversations")
            figure("chunks cost", cost.points, "points", "≤ 0.5", how)


if __name__ == "__main__":
    main()

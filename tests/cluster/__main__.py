"""`python -m tests.cluster`: see `storm`."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e"), str(HERE.parent / "servers")]

from storm import main  # noqa: E402

main()

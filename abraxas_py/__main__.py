"""`python -m abraxas_py`: the same as the command `abraxas`."""

import sys

from abraxas_py.cli import main

sys.exit(main())

"""`python -m monkeys` is `monkeys`."""

import sys

# As in `agent`: what lies in the working folder is no part of this program.
if not sys.flags.safe_path and not __file__.startswith(f"{sys.path[0]}/"):
    del sys.path[0]

from monkeys.commands.main import main

raise SystemExit(main())

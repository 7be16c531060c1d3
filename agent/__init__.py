"""One attempt: the agent, the models that answer, the tools that they call."""

import sys

# `python -m agent.swe` puts the working folder first among the places of modules. What lies there, such as a tasks.py
# of another project, must not be taken for a part of this program. While a module is looked for, argv begins with -m.
if (
    sys.argv[:1] == ["-m"]
    and "agent.swe" in sys.orig_argv
    and not sys.flags.safe_path
    and not __file__.startswith(f"{sys.path[0]}/")
):
    del sys.path[0]

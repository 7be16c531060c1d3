"""The results of the commands that analyse counts and outcomes. Each function reads no arguments and prints nothing."""

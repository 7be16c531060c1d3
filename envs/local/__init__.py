"""The `local` back end: a sandbox on this machine, by namespaces or by a plain copy."""

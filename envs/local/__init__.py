"""The `local` back end: sandboxes on this machine, in Linux namespaces or, without isolation, on a plain copy."""

"""Questions with a short answer, verified by comparing texts; no sandbox."""

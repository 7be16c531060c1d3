"""The `docker` back end: containers, images, and what keeps both in order."""

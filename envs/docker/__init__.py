"""The `docker` back end: containers, their images, and the removal of what killed runs leave behind."""

"""What people see of a run: live while it is sampled, whole when it is done, one attempt at a time, or as files."""

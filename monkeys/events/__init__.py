"""What a run has to tell, and those that listen: counts, a log file, plain lines."""

"""The science of repeated sampling, on plain arrays: coverage, scaling laws, allocation, cost, selection."""

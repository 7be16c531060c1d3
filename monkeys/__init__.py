"""The many: sampling, the store, and the science of coverage."""

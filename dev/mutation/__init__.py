"""Mutation testing: the code is changed in every small way, one at a time, and each time a test must fail."""

"""`make bench`: what the functions cost. See __main__.py."""

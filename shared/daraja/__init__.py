"""Safaricom's API, both ways: what we ask, what it answers, and what it calls us back with."""

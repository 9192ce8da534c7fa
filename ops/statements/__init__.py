"""Safaricom's statement files: read into rows that mean the same whatever file they came in."""

"""Bugs that were made in other people's M-Pesa code, planted in ours: the tests must find every one."""

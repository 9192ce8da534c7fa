"""The form of a backup, where backups are kept, and PostgreSQL's own programs that make and read them."""

from __future__ import annotations


class BackupFailed(Exception):
    """No backup was made, none was changed. The text says why, and what to do."""


class UnusableBackup(Exception):
    """This file is not taken as a backup. The text says why, and what to do."""


class NotABackup(UnusableBackup):
    """Another kind of file, or one that was cut off before its first line ended."""


class WrongKey(UnusableBackup):
    """It was encrypted to other recipients, or signed by another shop."""


class Damaged(UnusableBackup):
    """It was cut off or altered on its way: nothing in it can be believed."""

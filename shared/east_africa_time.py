"""East Africa Time, the only zone that Daraja knows: UTC+3 all the year, since 1960."""

from datetime import timedelta, timezone

EAT = timezone(timedelta(hours=3), "EAT")

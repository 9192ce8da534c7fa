"""What an operator hears of: log lines, alerts, errors and check-ins, none of them with anybody's data."""

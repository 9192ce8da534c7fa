"""The schema, its migrations, and the command that applies them."""

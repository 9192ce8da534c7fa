"""Do the tests bite? The code is broken in every small way there is, and each time some test must fail."""

"""The word that `hello` says."""

WORD = "Habari"

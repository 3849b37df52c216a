"""Whether a snapshot says what its model and weights give."""

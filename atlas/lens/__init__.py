"""Pure functions on tensors: SAE encode and decode, head shares, direct feature attribution."""

"""SAE training: activation stream, objectives, step, loop, evaluation."""

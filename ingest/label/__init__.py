"""Machine labels: by rule without any language model, and by one."""

"""SAEs of other projects: read into ours, and ours written for them."""

"""One page a file, each with `render(atlas)`."""

"""How things look in a terminal: one file per noun, each a few `show_...` functions."""

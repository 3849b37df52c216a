"""One pass over the corpus that keeps every feature's evidence, and one that attributes it."""

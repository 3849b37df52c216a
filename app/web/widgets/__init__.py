"""What several pages show: text made safe, numbers, bars, tables, examples, forms."""

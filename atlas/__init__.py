"""What a feature and a head are; how to read, search, tag, compare and probe them."""

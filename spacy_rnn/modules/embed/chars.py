"""The rows of characters."""

# Characters are hashed to this many rows; the first is padding.
CHAR_ROWS = 1024

"""Numbers of rows and bits that features are hashed to."""

# Of the table of characters; the first is padding.
CHAR_ROWS = 1024
# Of the filter of known words: with 100,000 words, it is wrong about one unknown word in 100.
FILTER_BITS = 2**20
FILTER_HASHES = 4

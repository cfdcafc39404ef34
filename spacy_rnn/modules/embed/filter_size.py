"""The size of the filter of known words."""

# With 100,000 words, the filter is wrong about one unknown word in 100.
FILTER_BITS = 2**20
FILTER_HASHES = 4

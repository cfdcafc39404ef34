"""Self-attention: the encoder of a transformer, with local windows."""

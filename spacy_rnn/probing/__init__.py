"""Questions to a trained language model: perplexity, number agreement."""

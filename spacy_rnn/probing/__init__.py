"""Questions to a trained model: perplexity, agreement, ablation, gates, gradients, attention."""

"""The mathematics: torch.nn modules that know nothing of spaCy or Thinc."""

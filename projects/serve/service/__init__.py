"""A web service over a spaCy pipeline."""

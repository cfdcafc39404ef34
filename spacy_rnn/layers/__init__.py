"""Thinc layers around the torch modules."""

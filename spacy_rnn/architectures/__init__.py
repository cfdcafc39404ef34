"""The registered model builders: what a config can name."""

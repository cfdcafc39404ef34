"""Strings from strings: an encoder and a decoder over characters, and edit scripts."""

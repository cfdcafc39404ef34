"""Strings from strings: an encoder and a decoder with attention over characters, and edit scripts."""

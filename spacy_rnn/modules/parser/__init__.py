"""Dependency parsing: biaffine scores, trees and their probabilities. On arrays only."""

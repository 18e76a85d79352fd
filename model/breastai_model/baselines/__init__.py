"""Other methods on the same prepared cases: our re-implementations from published descriptions, not the published systems."""

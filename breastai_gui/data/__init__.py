"""Files to Study: everything that touches image files. No Qt, no torch."""

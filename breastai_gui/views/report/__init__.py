"""The report: what goes into it, and its export as a PDF."""

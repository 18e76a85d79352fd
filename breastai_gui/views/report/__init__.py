"""The report: preview and export."""

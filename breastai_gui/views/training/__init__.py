"""The training wizard and the page that watches a run."""

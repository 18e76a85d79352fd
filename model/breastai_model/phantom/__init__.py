"""Made-up patients with known truth."""

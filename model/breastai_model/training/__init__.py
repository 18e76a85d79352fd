"""Training: losses, loop and run folder of one training run."""

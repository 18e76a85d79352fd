"""Inference: prediction, heatmaps and the choice of the device."""

"""The reading page: viewers, phase strip, ultrasound grid, prediction card."""

"""BreastAI, the desktop application: reads breast DCE-MRI and ultrasound together. Research use only."""

__version__ = "0.1.0"

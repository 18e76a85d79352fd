"""What the program does, in plain Python: no Qt."""

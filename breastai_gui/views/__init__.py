"""What the reader sees: the only place with Qt."""

"""Pictures: drawn, changed and varied."""

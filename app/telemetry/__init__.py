"""What is told about exchanges: one record each, to the log."""

"""What outlives a request: responses, conversations and background work, in SQLite or PostgreSQL."""

"""The keys that callers show, and whom they belong to."""

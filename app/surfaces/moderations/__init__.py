"""OpenAI's Moderations API."""

"""Batches, as OpenAI's clients speak of them."""

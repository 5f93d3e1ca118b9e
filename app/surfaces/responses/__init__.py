"""The Responses API, without a store behind it."""

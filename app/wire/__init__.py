"""Bytes: SSE framing and JSON."""

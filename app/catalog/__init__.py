"""What is known about Cloudflare's models: bundled facts, the live list laid over them, and names for both."""

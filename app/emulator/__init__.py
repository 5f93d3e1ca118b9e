"""A Workers AI emulator: Cloudflare's wire, with its quirks, on a local port."""

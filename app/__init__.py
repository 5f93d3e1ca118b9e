"""flarelay: a local proxy that serves the OpenAI API from Cloudflare Workers AI."""

__version__ = "0.1.0"

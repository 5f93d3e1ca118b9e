"""The rim towards Cloudflare: the connection, and what is fetched over it."""

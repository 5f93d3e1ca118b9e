"""OpenAI's older Completions API: a text is continued."""

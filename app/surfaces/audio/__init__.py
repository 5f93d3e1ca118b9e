"""Sound: written down, translated, and spoken."""

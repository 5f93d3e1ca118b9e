"""What our clients speak: each package reads one of OpenAI's APIs and writes its answers. No I/O."""

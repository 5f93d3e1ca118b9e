"""``python -m app`` is ``flarelay``."""

from app.cli import main

if __name__ == "__main__":
    main(prog_name="flarelay")

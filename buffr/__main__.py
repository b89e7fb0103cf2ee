"""``python -m buffr`` is the ``buffr`` command."""

from buffr.commands.cli import main

if __name__ == "__main__":
    main()

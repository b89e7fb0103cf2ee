"""``python -m buffr`` is the ``buffr`` command."""

from buffr.cli import main

if __name__ == "__main__":
    main()

"""The first migration and the one that is measured."""

from pathlib import Path

__path__.append(str(Path(__file__).parent.parent / "migrations_before"))

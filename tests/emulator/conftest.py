"""The emulator's own tests use the fixtures that it gives to others."""

from tests.emulator.fixtures import adb, emulator

__all__ = ["adb", "emulator"]

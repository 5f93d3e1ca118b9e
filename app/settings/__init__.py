"""What the operator may set: where it is read, how it is checked, and how it is explained."""

from app.settings.loading import load
from app.settings.model import Settings
from app.settings.problems import SettingsError
from app.settings.table import settings_table

__all__ = ["Settings", "SettingsError", "load", "settings_table"]

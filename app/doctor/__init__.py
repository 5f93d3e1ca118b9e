"""Finding out what is wrong with an installation, and what to do about it.

Every check gives findings; nothing here changes anything: no database is made or migrated, nothing is written, and no
model generates anything unless it was asked to.
"""

from app.doctor.diagnosis import Diagnosis, Options, diagnose
from app.doctor.findings import Finding

__all__ = ["Diagnosis", "Finding", "Options", "diagnose"]

"""Collect what a bug report needs: versions, machine, devices, caches, settings, and a test of the embedded model."""

from clipcli.runs.doctor.run import DoctorRow as DoctorRow
from clipcli.runs.doctor.run import examine as examine

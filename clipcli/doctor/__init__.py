"""What a bug report needs: versions, machine, devices, caches, settings, and a test of the embedded model."""

from clipcli.doctor.examination import examine as examine
from clipcli.doctor.rows import Finding as Finding

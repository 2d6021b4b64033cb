"""Launchers `slurm`, `kubernetes` and `script`."""

"""The backend `fsdp`."""

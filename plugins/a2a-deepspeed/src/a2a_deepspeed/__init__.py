"""Backend `deepspeed`."""

"""`python -m a2a_cli`, for `torchrun -m a2a_cli train recipe.toml`."""

from a2a_cli.main import main

main()

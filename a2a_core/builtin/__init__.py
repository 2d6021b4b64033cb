"""The two parts that the core itself offers, through the same hooks as everybody."""

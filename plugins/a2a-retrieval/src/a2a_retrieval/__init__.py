"""Whatever belongs to a query, found: dual encoders, late interaction, and what trains, measures and uses them."""

"""The page and its sections as templates."""

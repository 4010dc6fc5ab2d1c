"""What several stages use, and what belongs to none of them."""

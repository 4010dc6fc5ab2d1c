"""What a study would cost, told before it runs."""

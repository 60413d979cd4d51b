"""What runs waited for because functions were asleep."""

"""Groups of people, to whom things are granted together."""

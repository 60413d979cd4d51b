"""Second factors of people: what is kept of them, how they are enrolled, shown, renewed and taken away."""

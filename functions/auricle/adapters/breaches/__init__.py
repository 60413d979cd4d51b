"""Technologies behind `ports.breaches`: Have I Been Pwned, asked by range, and its list as a file where nothing is asked."""

"""What people write with kubectl and read with it: the three kinds as Python types, their rules, and their CRDs."""

"""Technologies behind `ports.certificates`: cryptography's path validation, revocation over bounded HTTP."""

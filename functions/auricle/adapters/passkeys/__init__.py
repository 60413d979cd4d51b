"""Technologies behind `ports.passkeys`: py_webauthn."""

"""Technologies behind `ports.oidc`: Authlib and joserfc over bounded HTTP."""

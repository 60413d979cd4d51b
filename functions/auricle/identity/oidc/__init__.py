"""Signing in through another house: how providers are set up, what comes back from them, and whom they let in.

Pure rules: values in, values out. `ports.oidc` speaks to the providers.
"""

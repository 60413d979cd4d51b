"""Signed tokens: made with joserfc in the identity function, checked with `cryptography` everywhere else.

joserfc costs a starting function 35 ms and a hundred modules, the part of `cryptography` that checks a signature 6 ms (measured
on top of what an API function imports anyway); so functions that only verify never import joserfc.
"""

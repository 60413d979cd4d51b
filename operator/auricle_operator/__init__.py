"""The operator: tenants, their secrets and speech models as kubectl resources.

`api` is what people write; `tenants`, `secrets` and `models` decide (pure) and bring about; `outside` names what lies beyond
Kubernetes (databases, object stores); `handlers` is the only module that kopf knows.
"""

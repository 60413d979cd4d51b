"""Faults in what is around the functions: events, releases, walls, doors, volumes and GPUs."""

from __future__ import annotations

import base64

from auricle.cli.clusterdoctor import Sight
from unit.clusterdoctor.a_deployment import add, both, certificate, drop, empty, otherwise, pod, put, remove, told
from unit.clusterdoctor.planted import CONTAINER, NOTE, SCALE, Planted

CLASS = "eventing.knative.dev/broker.class"
TLS = "data tls.crt"
OPEN = {"metadata": {"name": "open"}, "spec": {"podSelector": {}, "ingress": [{}], "policyTypes": ["Ingress"]}}
VOLUME = "spec template spec volumes 1 persistentVolumeClaim"
DEFAULT = "metadata annotations storageclass.kubernetes.io/is-default-class"

EVENTS = (
    Planted("broker", "no Broker default", "components/rabbitmq", empty(Sight.BROKERS)),
    Planted("broker", "class is not said", "delete broker", drop(Sight.BROKERS, "default", f"metadata annotations {CLASS}")),
    Planted(
        "broker",
        "in memory",
        "rabbitmq",
        put(Sight.BROKERS, "default", f"metadata annotations {CLASS}", "MTChannelBasedBroker"),
        NOTE,
    ),
    Planted(
        "broker",
        "no route to RabbitMQ",
        "describe broker default",
        told(Sight.BROKERS, "default", "Ready", "False", "no route to RabbitMQ"),
    ),
    Planted("broker", "no dead letter sink", "overlay", drop(Sight.BROKERS, "default", "spec delivery deadLetterSink")),
    Planted("triggers", "No Trigger for assemble", "Apply the overlay", remove(Sight.TRIGGERS, "assemble")),
    Planted(
        "triggers",
        "Trigger/assemble is not Ready: no queue",
        "describe trigger assemble",
        told(Sight.TRIGGERS, "assemble", "Ready", "False", "no queue"),
    ),
    Planted("triggers", "no dead letter sink", "overlay", drop(Sight.TRIGGERS, "assemble", "spec delivery deadLetterSink")),
    Planted("triggers", "backoffDelay", "overlay", drop(Sight.TRIGGERS, "assemble", "spec delivery backoffDelay")),
    Planted(
        "triggers", "does not say whom", "describe trigger", drop(Sight.TRIGGERS, "assemble", "status subscriberUri"), NOTE
    ),
    Planted(
        "triggers",
        "Until Service dead-letter is Ready, no Trigger delivers of: advance, assemble",
        "Mend Service dead-letter first",
        both(
            told(Sight.SERVICES, "dead-letter", "Ready", "False", "x"),
            told(Sight.TRIGGERS, "assemble", "Ready", "False", "address not set"),
            told(Sight.TRIGGERS, "advance", "Ready", "False", "address not set"),
        ),
    ),
    Planted(
        "schedules",
        "PingSource/every-hour is not Ready: bad sink",
        "describe pingsource",
        told(Sight.PINGS, "every-hour", "Ready", "False", "bad sink"),
    ),
    Planted("schedules", "no PingSource fires", "overlay", remove(Sight.PINGS, "every-day")),
    Planted("schedules", "no ticket", "overlay", drop(Sight.PINGS, "every-day", "spec ceOverrides extensions ticket")),
    Planted(
        "dead-letter-keeper",
        "Dead letters are lost",
        "describe ksvc",
        told(Sight.SERVICES, "dead-letter", "Ready", "False", "x"),
    ),
    Planted("dead-letter-keeper", "Nobody keeps dead letters", "overlay", remove(Sight.SERVICES, "dead-letter")),
)

RELEASE = (
    Planted(
        "jobs",
        "The job migrate, which brings the database to the release's schema, failed: deadline",
        "logs job/migrate",
        both(told(Sight.JOBS, "migrate", "Complete", "False", ""), told(Sight.JOBS, "migrate", "Failed", "True", "deadline")),
    ),
    Planted(
        "jobs",
        "bucket-setup, which makes the bucket what it must be, is not done",
        "logs -f",
        told(Sight.JOBS, "bucket-setup", "Complete", "False", ""),
        NOTE,
    ),
    Planted(
        "schema", "last migrated by old:1", "delete job migrate", put(Sight.JOBS, "migrate", f"{CONTAINER} image", "old:1")
    ),
    Planted("schema", "at 0001", "upgrade", otherwise(migrated="The database is at revision 0001."), NOTE),
    Planted(
        "backup",
        "34 hours old",
        "create job",
        put(Sight.CRON_JOBS, "postgres-backup", "status lastSuccessfulTime", "2026-05-03T02:00:00Z"),
    ),
    Planted("backup", "suspended", "patch cronjob", put(Sight.CRON_JOBS, "postgres-backup", "spec suspend", True)),
    Planted("backup", "nothing makes dumps", "components/postgres", empty(Sight.CRON_JOBS)),
    Planted(
        "backup",
        "No dump has ever succeeded",
        "create job",
        both(
            drop(Sight.CRON_JOBS, "postgres-backup", "status lastSuccessfulTime"),
            put(Sight.CRON_JOBS, "postgres-backup", "metadata creationTimestamp", "2026-04-01T00:00:00Z"),
        ),
    ),
    Planted("dead-letters", "No answer from there", "--token", otherwise(silence="No answer from there.")),
    Planted("dead-letters", "3 dead letters are open", "auricle dead-letters", otherwise(letters=3), NOTE),
)

WALLS = (
    Planted(
        "secrets", "The Secret auricle-events is missing", "auricle manifests secrets", remove(Sight.SECRETS, "auricle-events")
    ),
    Planted(
        "secrets",
        "auricle-blobs has no S3_ACCESS_KEY_ID",
        "auricle manifests secrets",
        drop(Sight.SECRETS, "auricle-blobs", "data S3_ACCESS_KEY_ID"),
    ),
    Planted(
        "secrets",
        "an empty DATABASE_URL",
        "auricle manifests secrets",
        put(Sight.SECRETS, "auricle-database", "data DATABASE_URL", ""),
    ),
    Planted(  # pods start without it, and nobody could sign in
        "secrets",
        "The Secret auricle-signing is missing, for identity",
        "auricle manifests secrets",
        remove(Sight.SECRETS, "auricle-signing"),
    ),
    Planted("secrets", "gateway-tls is missing, for gateway", "create secret tls", remove(Sight.SECRETS, "gateway-tls")),
    Planted(
        "secret-holders",
        "speech function diarize",
        "overlay",
        put(
            Sight.SERVICES,
            "diarize",
            f"{CONTAINER} env +",
            {"name": "EVENT_KEY", "valueFrom": {"secretKeyRef": {"name": "auricle-events", "key": "EVENT_KEY"}}},
        ),
    ),
    Planted("secret-holders", "in clear", "overlay", put(Sight.CONFIG_MAPS, "auricle-settings", "data EVENT_KEY", "abc")),
    Planted("quotas", "used up: pods 200 of 200", "describe quota", put(Sight.QUOTAS, "auricle", "status used pods", "200")),
    Planted(
        "quotas",
        "nearly used up: limits.memory 95Gi of 96Gi",
        "budget",
        put(Sight.QUOTAS, "auricle", "status used limits.memory", "95Gi"),
        NOTE,
    ),
    Planted(
        "limit-range",
        "128Mi memory at most",
        "edit limitrange",
        put(Sight.LIMIT_RANGES, "auricle", "spec limits 0 max", {"memory": "128Mi"}),
    ),
    Planted(
        "disruption",
        "No PodDisruptionBudget for files",
        "base/policies",
        both(
            empty(Sight.DISRUPTION), put(Sight.SERVICES, "files", f"spec template metadata annotations {SCALE}/min-scale", "2")
        ),
        NOTE,
    ),
    Planted(
        "disruption",
        "never lets a pod go",
        "patch pdb gateway",
        both(
            put(Sight.DISRUPTION, "gateway", "spec maxUnavailable", 0),
            put(Sight.DISRUPTION, "gateway", "status", {"expectedPods": 2, "currentHealthy": 2}),
        ),
    ),
    Planted(
        "disruption",
        "1 healthy of 2 pods",
        "get pods",
        put(Sight.DISRUPTION, "gateway", "status", {"expectedPods": 2, "currentHealthy": 1, "desiredHealthy": 2}),
        NOTE,
    ),
    Planted("network", "denies Ingress and Egress by default", "deny-all", remove(Sight.POLICIES, "deny-all")),
    Planted("network", "policy open", "delete netpol open", add(Sight.POLICIES, OPEN)),
    Planted(
        "pod-security",
        "baseline",
        "kubectl label namespace",
        put(Sight.NAMESPACE, "auricle", "metadata labels pod-security.kubernetes.io/enforce", "baseline"),
    ),
)

DOORS = (
    Planted(
        "address",
        "BLOBS_PUBLIC_URL is not set",
        "https://",
        drop(Sight.CONFIG_MAPS, "auricle-settings", "data BLOBS_PUBLIC_URL"),
    ),
    Planted(
        "address",
        "waits for a load balancer",
        "describe service gateway",
        put(Sight.KUBERNETES_SERVICES, "gateway", "spec type", "LoadBalancer"),
        NOTE,
    ),
    Planted(
        "certificate",
        "is for other.example, and its address is vault.example",
        "create secret tls",
        put(Sight.SECRETS, "gateway-tls", TLS, certificate("other.example")),
    ),
    Planted(
        "certificate",
        "ran out 3 days ago",
        "create secret tls",
        put(Sight.SECRETS, "gateway-tls", TLS, certificate("vault.example", days=-3, since=-90)),
    ),
    Planted(
        "certificate",
        "runs out in 5 days",
        "create secret tls",
        put(Sight.SECRETS, "gateway-tls", TLS, certificate("*.example", days=5)),
        NOTE,
    ),
    Planted(
        "certificate",
        "not valid yet",
        "create secret tls",
        put(Sight.SECRETS, "gateway-tls", TLS, certificate("vault.example", since=1)),
    ),
    Planted(
        "certificate",
        "no certificate that can be read",
        "create secret tls",
        put(Sight.SECRETS, "gateway-tls", TLS, base64.b64encode(b"x").decode()),
    ),
    Planted(
        "cert-manager",
        "issuer is missing",
        "describe certificate",
        told(Sight.CERTIFICATES, "gateway", "Ready", "False", "issuer is missing"),
    ),
)

VOLUMES = (
    Planted(
        "storage-class",
        "No StorageClass is the default",
        "annotate storageclass fast",
        drop(Sight.STORAGE_CLASSES, "fast", "metadata annotations"),
        NOTE,
    ),
    Planted(
        "storage-class",
        "StorageClass slow, which does not exist",
        "fast",
        add(Sight.CLAIMS, {"metadata": {"name": "more"}, "spec": {"storageClassName": "slow"}, "status": {"phase": "Pending"}}),
    ),
    Planted(
        "storage-class",
        "Several",
        "annotate",
        add(
            Sight.STORAGE_CLASSES,
            {"metadata": {"name": "slow", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}},
        ),
        NOTE,
    ),
    Planted("volumes", "has lost its volume", "backup", put(Sight.CLAIMS, "models", "status phase", "Lost")),
    Planted(
        "volumes",
        "PersistentVolumeClaim/models has no volume yet",
        "describe pvc models",
        both(
            put(Sight.CLAIMS, "models", "status phase", "Pending"),
            add(
                Sight.PODS,
                {**pod("t", {}), "spec": {"volumes": [{"name": "m", "persistentVolumeClaim": {"claimName": "models"}}]}},
            ),
        ),
    ),
    Planted("models", "claim models, which does not exist", "components/gpu/models", remove(Sight.CLAIMS, "models")),
    Planted(
        "models",
        "may write the volume of models",
        "readOnly",
        both(
            drop(Sight.SERVICES, "transcribe", f"{VOLUME} readOnly"),
            drop(Sight.SERVICES, "transcribe", f"{CONTAINER} volumeMounts 1 readOnly"),
        ),
    ),
    Planted(
        "models",
        "mounts no volume of models",
        "components/cpu",
        put(Sight.SERVICES, "diarize", f"{CONTAINER} env +", {"name": "DIARIZE_MODEL", "value": "voices-large"}),
    ),
    Planted("models", "249 English words", "TRANSCRIBE_MODEL", drop(Sight.SERVICES, "transcribe", f"{CONTAINER} env -1"), NOTE),
)

GPUS = (
    Planted(
        "gpu",
        "No node offers nvidia.com/gpu now (node1 has some, none of them healthy)",
        "device-plugin",
        put(Sight.NODES, "node1", "status allocatable", {}),
        NOTE,
    ),
    Planted("gpu", "nvidia.com/gpu.present=true", "kubectl label node", put(Sight.NODES, "node1", "metadata labels", {})),
    Planted(
        "gpu",
        "does not tolerate (team)",
        "key: team",
        put(Sight.NODES, "node1", "spec taints +", {"key": "team", "value": "b", "effect": "NoSchedule"}),
    ),
    Planted("runtime-class", "no RuntimeClass nvidia", "GPU operator", empty(Sight.RUNTIME_CLASSES)),
)

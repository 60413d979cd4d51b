"""A speech model, present and verified on the nodes that need it. Cluster-scoped: nodes are everybody's."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec

from auricle_operator.api.conditions import Conditions
from auricle_operator.api.rules import NAMED, Column, Duration, Label, Name, ObjectName, Quantity, Rule, Written, about

KIND = "ModelCache"
PLURAL = "modelcaches"
SHORT = ("mc",)
NAMING = (NAMED,)

READY = "Ready"
DOWNLOADED = "Downloaded"
SPACE = "SpaceAvailable"


class SourceKind(StrEnum):
    """Where a model's files come from."""

    HF = "hf"  # a hub: repository and exact commit
    S3 = "s3"
    HTTP = "http"
    OCI = "oci"  # an artifact in an image registry
    DIRECTORY = "directory"  # a folder on the node, or on a volume of the operator's


class StorageKind(StrEnum):
    """What the files lie on."""

    NODE = "node"  # a folder of each node (a local PersistentVolume): fastest
    CLAIM = "claim"  # one volume that all nodes read (ReadWriteMany)


class NodeState(StrEnum):
    """Of one copy."""

    WAITING = "Waiting"
    DOWNLOADING = "Downloading"
    VERIFYING = "Verifying"
    READY = "Ready"
    FAILED = "Failed"
    NODE_GONE = "NodeGone"
    EVICTED = "Evicted"


Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$", max_length=64)]


class CachedFile(Written, frozen=True):
    """One file of a model."""

    path: Annotated[
        str, about("Inside the model's folder, no leading slash, no dots that lead out.", min_length=1, max_length=500)
    ]
    size: Annotated[int, about("Bytes.", ge=0)]
    sha256: Annotated[Sha256, about("Of its bytes, in hex.")]
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!self.path.matches('(^|/)[.]{0,2}(/|$)')",
            "path leads out of the model's folder or is no plain one: no slash before, behind or twice; no . or .. as a part.",
        ),
    )


class ModelSource(Written, frozen=True):
    """Where from."""

    kind: SourceKind
    uri: Annotated[
        str,
        about(
            "hf: owner/name · s3: s3://bucket/prefix · http: https://… · oci: registry/repo · directory: /path.",
            min_length=1,
            max_length=1000,
        ),
    ]
    revision: Annotated[str, about("hf: the commit; oci: sha256:…; else empty.", max_length=200)] = ""
    credentials: Annotated[
        ObjectName, about("Secret in the operator's namespace with token, or access-key-id and secret-access-key.")
    ] = ""
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.kind != 'hf' || self.revision.matches('^[0-9a-f]{40}$')",
            "revision of a hub is a whole commit (40 hex digits): names of branches move.",
        ),
        Rule(
            "self.kind != 'oci' || self.revision.startsWith('sha256:')",
            "revision of an OCI artifact is its digest: sha256:…",
        ),
        Rule(
            "self.kind != 'http' || self.uri.startsWith('https://') || self.uri.startsWith('http://')",
            "uri begins with https:// (or http:// inside the cluster).",
        ),
        Rule("self.kind != 's3' || self.uri.startsWith('s3://')", "uri begins with s3://."),
        Rule("self.kind != 'directory' || self.uri.startsWith('/')", "uri is an absolute path."),
    )


class Toleration(Written, frozen=True):
    """A taint that the download tolerates."""

    key: Annotated[str, about("Of the taint. Empty: any.", max_length=317)] = ""
    operator: Annotated[str, about("Exists or Equal.", pattern="^(Exists|Equal)$", max_length=6)] = "Exists"
    value: Annotated[Label, about("Of the taint, where operator is Equal.")] = ""
    effect: Annotated[str, about("Empty: any.", pattern="^(NoSchedule|PreferNoSchedule|NoExecute)?$", max_length=16)] = ""


class Placement(Written, frozen=True):
    """On which nodes."""

    node_selector: Annotated[
        dict[str, Label], about("Labels of the nodes; left out: those of the GPU pool.", max_length=16)
    ] = msgspec.field(default_factory=dict)
    tolerations: Annotated[tuple[Toleration, ...], about("Taints of nodes that may have it nevertheless.", max_length=16)] = (
        Toleration(key="nvidia.com/gpu"),
    )
    min_copies: Annotated[int, about("Ready when so many nodes have it.", ge=0, le=1000)] = 1


class Storage(Written, frozen=True):
    """On what."""

    kind: StorageKind = StorageKind.NODE
    path: Annotated[str, about("Folder of the node.", max_length=500)] = "/var/lib/auricle/models"
    claim: Annotated[ObjectName, about("PersistentVolumeClaim in the operator's namespace.")] = ""
    budget: Annotated[
        Quantity | None, about("Bytes that all models of this storage may take on a node; the longest unused go first.")
    ] = None
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("self.kind != 'claim' || self.claim != ''", "Name the claim that holds the models in storage.claim."),
        Rule("self.kind != 'node' || self.path.startsWith('/')", "path is absolute: begin it with a slash."),
    )


class Keep(Written, frozen=True):
    """How long an unused model stays."""

    evict_after: Annotated[Duration | None, about("Leave the nodes when no tenant has used it for so long.")] = None


class ModelCacheSpec(Written, frozen=True):
    """Which model, where, for how long."""

    model: Annotated[Name, about("Folder name, and what an upload asks for.")]
    source: ModelSource
    files: Annotated[tuple[CachedFile, ...], about("What makes the model, whole.", min_length=1, max_length=500, unique="path")]
    placement: Placement = Placement()
    storage: Storage = Storage()
    retention: Keep = Keep()
    pinned: Annotated[bool, about("Never evicted.")] = False

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("self.model == oldSelf.model", "A cache's model cannot be changed: make another ModelCache."),
    )


class Copy(Written, frozen=True):
    """A model on one node."""

    state: NodeState
    since: Annotated[str | None, about("When it came into this state.")] = None
    bytes: Annotated[int, about("Of what shall be there, as many as are there.")] = 0
    digest: Annotated[str, about("Of the content that lies there verified; empty when none does.")] = ""
    verified_at: str | None = None
    attempts: int = 0
    next_try: str | None = None
    error: str = ""


class Copies(Written, frozen=True):
    """In numbers."""

    available: int = 0
    wanted: int = 0
    failed: int = 0


class ModelCacheStatus(Written, frozen=True):
    """What is."""

    observed_generation: int = 0
    conditions: Conditions = ()
    digest: str = ""
    size: int = 0
    progress: Annotated[int, about("Percent of all bytes on all nodes.")] = 0
    nodes: dict[str, Copy] = msgspec.field(default_factory=dict)
    copies: Copies = Copies()
    consumers: tuple[str, ...] = ()
    last_used: str | None = None


COLUMNS = (
    Column("Model", ".spec.model"),
    Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    Column("Copies", ".status.copies.available", "integer"),
    Column("Wanted", ".status.copies.wanted", "integer"),
    Column("Progress", ".status.progress", "integer"),
    Column("Size", ".status.size", "integer", 1),
    Column("Why", '.status.conditions[?(@.type=="Ready")].message', priority=1),
    Column("Age", ".metadata.creationTimestamp", "date"),
)

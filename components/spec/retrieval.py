"""How answers are grounded in documents, and what is let through on the way in and out."""

from typing import Annotated, Literal

from pydantic import Field

from components.core.cron import PATTERN
from components.spec.section import CloudName, Days, Name, Section

Strength = Literal["off", "low", "medium", "high"]
Pii = Literal["off", "mask", "block"]


class Topic(Section):
    """Something that is not talked about."""

    definition: Annotated[str, Field(min_length=1, max_length=200)] = Field(description="What it is, in a sentence.")
    examples: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=5)] = Field(
        default=[], description="Questions that are about it."
    )


class Guardrail(Section):
    """What is stopped on the way to a language model and back. A version of it is attached, never a draft."""

    topics: Annotated[dict[Name, Topic], Field(max_length=30)] = Field(
        default={}, description="AWS: what is not talked about. Google Cloud has no such filter."
    )
    words: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=1000)] = Field(
        default=[], description="AWS: words that are stopped, in questions and answers."
    )
    pii: Pii = Field(default="mask", description="What happens to names, numbers and addresses of people.")
    prompt_attack: Strength = Field(default="high", description="How carefully attacks by prompt are looked for.")
    harmful: Strength = Field(
        default="high",
        description="How carefully hate, insults, sexual content, violence and misconduct are looked for.",
    )
    grounding: Annotated[float, Field(ge=0, le=0.99)] = Field(
        default=0.0,
        description="AWS: answers that are less grounded in the documents than this are stopped; 0 for none.",
    )


class Chunks(Section):
    """How documents are cut before they are embedded."""

    tokens: Annotated[int, Field(ge=20, le=8192)] = Field(default=300, description="Tokens of a part at most.")
    overlap_percent: Annotated[int, Field(ge=1, le=50)] = Field(
        default=20, description="Percent of a part that stands in the next one too."
    )


class Embedding(Section):
    """What turns text into vectors, under the name that each cloud has for it."""

    aws: str = Field(default="amazon.titan-embed-text-v2:0", description="Id of a model of Bedrock.")
    gcp: str = Field(default="text-embedding-005", description="Name of a model of Vertex AI.")
    dimensions: Literal[256, 512, 768, 1024] | None = Field(
        default=None, description="Length of a vector; by default the model's own."
    )


class Asking(Section):
    """What stands in front of the corpora of an environment: one address on each cloud that has some."""

    auth: Literal["jwt", "iam"] = Field(
        default="jwt",
        description="`jwt`: a token of `serving.tokens` that names its bearer's teams; `iam`: what the jobs of a team run as.",
    )
    throttle_rps: Annotated[int, Field(ge=1, le=1000)] = Field(
        description="Requests a second of all callers together. AWS refuses what is above, and keeps twice as many executions"
        " of functions for them; Google Cloud has as many instances as these take, and no more.",
    )


class Corpus(Section):
    """Documents that questions are answered from. Whoever may read one corpus cannot ask another."""

    team: Name = Field(description="The team that owns it and pays for it.")
    on: CloudName | None = Field(default=None, description="The cloud; by default the environment's first.")
    source: Name = Field(
        default="raw",
        description="Zone of its documents, under `documents/{corpus}/`; the same for all corpora of a cloud.",
    )
    store: Literal["vectors", "database"] = Field(
        default="vectors",
        description="`vectors`: serverless, paid by use; `database`: PostgreSQL with pgvector, `retrieval.database`.",
    )
    embedding: Embedding = Field(default=Embedding(), description="What turns text into vectors.")
    chunks: Chunks = Field(default=Chunks(), description="AWS: how documents are cut.")
    schedule: Annotated[str, Field(pattern=PATTERN)] = Field(
        default="0 2 * * *",
        description="When the store is held against the bucket, in UTC, in the five fields of cron; changes arrive at once.",
    )
    readers: Annotated[list[Name], Field(min_length=1)] = Field(description="Teams that may ask it, and no others.")
    guardrail: Name | None = Field(default=None, description="What questions and passages pass.")
    questions_per_month: Annotated[int, Field(ge=0)] = Field(default=10_000, description="How many are expected.")
    documents_gib: Annotated[float, Field(gt=0, le=100_000)] = Field(
        default=1.0, description="How much text is expected, GiB."
    )


class Database(Section):
    """The database that holds the corpora with `store: database`: one on each cloud that has some."""

    size: Literal["small", "medium", "large"] = Field(
        default="small", description="`small`: 2 vCPUs at most; each further size has about twice as much."
    )
    disk_gib: Annotated[int, Field(ge=20, le=4000)] = Field(
        default=20, description="Google Cloud: disk to start with, GiB; on AWS it is as large as what it holds."
    )


class Retrieval(Section):
    """Retrieval of the environment."""

    prompt_zone: Name = Field(default="logs", description="Zone of logged prompts and answers, under `prompts/`.")
    prompt_days: Days = Field(description="Days that logged prompts and answers are kept.")
    prompt_readers: list[str] = Field(default=[], description="Personas that may read logged prompts and answers.")
    team_claim: Annotated[str, Field(pattern=r"^[\w:./-]{1,64}$")] = Field(
        default="teams", description="What names a caller's teams in its token."
    )
    api: Asking | None = Field(
        default=None, description="What stands in front of the corpora; needed where there is one."
    )
    database: Database = Field(default=Database(), description="What holds the corpora that want one.")
    corpora: dict[Name, Corpus] = Field(default={}, description="What can be asked.")
    guardrails: dict[Name, Guardrail] = Field(default={}, description="What is let through.")

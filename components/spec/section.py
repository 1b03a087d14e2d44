"""What every section of the description has in common: its base class and its shared types."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from components.spec.source import Secure

CloudName = Literal["aws", "gcp"]
Tier = Literal["dev", "staging", "prod"]

# A key of a map: it becomes a part of physical names, so it holds what every cloud's names may hold. Two hyphens side by side
# are refused by Bedrock ("CreateKnowledgeBase", name) and ElastiCache ("CreateUser").
NAME = r"^[a-z](-?[a-z0-9])*$"
LONGEST_NAME = 32
EMAIL = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
Name = Annotated[str, Field(pattern=NAME, max_length=LONGEST_NAME)]
Email = Annotated[str, Field(pattern=EMAIL)]
Days = Annotated[int, Field(ge=1, le=3650)]
Percent = Annotated[int, Field(ge=1, le=100)]


class Section(BaseModel):
    """Part of the description: immutable, and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Secret:
    """Schema of a value that stands encrypted in a stack's file."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.is_instance_schema(Secure)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "object", "properties": {"secure": {"type": "string"}}, "required": ["secure"]}


Secret = Annotated[Secure, _Secret]

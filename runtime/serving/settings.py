"""What the container is told, by environment variables; each has a default that suits every cloud."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How the service behaves. Times are seconds."""

    port: int = 8080
    model_name: str = ""
    """Of the paths `/v1/models/NAME`; the signature's, where it is empty."""
    health_route: str = ""
    predict_route: str = ""
    max_body_bytes: int = 6 << 20
    """As Lambda: what fits here fits everywhere (Lambda quotas, "Invocation payload"; Cloud Run 32 MiB)."""
    max_requests: int = 64
    """At once; those beyond are answered with 429. Cloud Run's concurrency, or an autoscaler's target, stays under it."""
    max_instances: int = 10_000
    """In one request. What the model takes at once is the signature's: more go through it in several calls."""
    queue_rows: int = 1024
    """Instances that wait for the model; those beyond are answered with 429."""
    request_seconds: float = 30.0
    """For a request with all that it waits for. SageMaker gives up after 60."""
    batch_wait_ms: float = 0.0
    drain_seconds: float = 2.0
    """After SIGTERM the service says that it is not ready and goes on answering for so long: load balancers need it to notice."""
    grace_seconds: float = 6.0
    """What runs then may take so long to end. Cloud Run kills 10 s after SIGTERM, SageMaker, ECS and Kubernetes after 30."""
    model_threads: int = 0
    """Of one call of the model; 0: as many as there are processors."""
    log_requests: bool = True
    output_uri: str = ""
    """Where results of messages go; without it there is no `/push`."""
    cache_url: str = ""
    """Where answers are kept that need not be worked out twice; `cache.py` says what these are."""
    cache_sign_in: str = ""
    cache_authority: str = ""
    cache_prefix: str = ""
    cache_seconds: int = 3600
    cache_ms: float = 50.0

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Settings":
        """From the environment; raises ValueError that names the variable."""
        names = {
            "port": ("AIP_HTTP_PORT", "PORT"),
            "health_route": ("AIP_HEALTH_ROUTE",),
            "predict_route": ("AIP_PREDICT_ROUTE",),
        }
        found: dict[str, object] = {}
        for key, default in ((key, getattr(cls(), key)) for key in cls.__slots__):
            for name in names.get(key, (key.upper(),)):
                if not (text := environment.get(name)):
                    continue
                try:
                    found[key] = text.lower() in {"1", "true"} if isinstance(default, bool) else type(default)(text)
                except ValueError:
                    raise ValueError(f"{name} must be a number, not {text}") from None
                break
        return cls(**found)  # pyright: ignore[reportArgumentType] - each of the type of its default

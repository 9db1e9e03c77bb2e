"""Settings, read from the environment and `.env`. `.env.example` holds one commented line for each."""

from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DEVELOPMENT_SECRET = "recado-development-secret"  # noqa: S105 - production refuses it
SHORTEST_API_KEY = 32


class Settings(BaseSettings):
    """Each field is an environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore")

    environment: Literal["development", "production"] = "development"
    database_url: str = "sqlite+aiosqlite:///data/recado.db"
    checkpoint_url: str = "sqlite:///data/checkpoints.db"
    queue_url: str = "memory://"

    model_provider: Literal["openai", "demo", ""] = ""
    openai_api_key: str = ""
    openai_base_url: str = ""
    chat_model: str = "gpt-4.1"
    classifier_model: str = "gpt-4.1"
    localizer_model: str = "gpt-4.1-mini"
    embedding_model: str = "text-embedding-3-small"
    model_timeout_seconds: float = Field(default=30.0, gt=0)
    model_retries: int = Field(default=2, ge=0)

    public_base_url: str = "http://127.0.0.1:8000"
    twilio_api_base_url: str = ""
    meta_graph_base_url: str = ""
    meta_api_version: str = Field(default="24.0", pattern=r"^[0-9]{1,2}\.[0-9]$")
    provider_timeout_seconds: float = Field(default=15.0, gt=0)
    reconcile_seconds: float = Field(default=60.0, gt=0)
    catch_up_minutes: float = Field(default=5.0, gt=0)
    late_message_hours: float = Field(default=12.0, gt=0)

    media_dir: Path = Path("data/media")
    media_max_mb: float = Field(default=25.0, gt=0)
    transcription_model: str = "gpt-4o-mini-transcribe,whisper-1,gpt-transcribe"

    enable_conversation_sync: bool = False
    use_cartaai_api: bool = False
    cartaai_api_base_url: str = "https://ssgg.api.cartaai.pe"
    cartaai_api_key: str = ""
    cartaai_subdomain: str = ""
    cartaai_local_id: str = ""
    conversation_api_prefix: str = "/api/v1/whatsapp"
    conversation_api_timeout: float = Field(default=10.0, gt=0)

    webapp_base_url: str = ""
    webapp_conversation_path: str = "/whatsapp/messages?conversationId={id}"
    alert_timezone: str = "Europe/Zurich"
    alert_quiet_minutes: float = Field(default=10.0, gt=0)
    discord_webhook_url: str = ""
    discord_alerts: str = "info"
    slack_webhook_url: str = ""
    slack_alerts: str = "warning"
    smtp_url: str = ""
    alert_email_from: str = ""
    alert_email_to: str = ""
    email_alerts: str = "error"
    log_alerts: str = "info"
    linear_api_key: str = ""
    linear_team_id: str = ""
    linear_api_url: str = "https://api.linear.app/graphql"
    railway_project_id: str = ""
    railway_service_id: str = ""
    railway_environment_id: str = ""
    railway_environment_name: str = ""
    railway_environment_ids: str = ""
    railway_logs_url: str = (
        "https://railway.com/project/{project_id}/logs?environmentId={environment_id}&start={start}&end={end}"
    )

    langfuse_public_key: str = ""
    langfuse_secret_key: str = ""
    langfuse_base_url: str = "https://cloud.langfuse.com"
    otel_exporter_otlp_endpoint: str = ""
    trace_url: str = ""
    worker_metrics_port: int = Field(default=0, ge=0, le=65_535)
    model_prices: str = "gpt-4.1=2/0.5/8,gpt-4.1-mini=0.4/0.1/1.6"

    secret_key: str = DEVELOPMENT_SECRET
    api_key: str = ""

    turn_quiet_seconds: float = Field(default=1.0, ge=0)
    history_window: int = Field(default=30, ge=4)
    worker_concurrency: int = Field(default=64, ge=1)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_masked: bool = True

    @model_validator(mode="after")
    def _choose_provider(self) -> Self:
        if not self.model_provider:
            self.model_provider = "openai" if self.openai_api_key else "demo"
        return self

    @property
    def production(self) -> bool:
        """Whether defaults that only suit a developer's machine must be refused."""
        return self.environment == "production"

    def problems(self) -> list[str]:
        """What must be mended before this configuration can serve; each names its remedy. Empty when fine."""
        found = []
        if self.model_provider == "openai" and not self.openai_api_key:
            found.append("MODEL_PROVIDER=openai needs OPENAI_API_KEY; set it, or MODEL_PROVIDER=demo")
        if bool(self.langfuse_public_key) != bool(self.langfuse_secret_key):
            found.append("LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY belong together; set both, or neither")
        if not self.production:
            return found
        if self.secret_key == DEVELOPMENT_SECRET or len(self.secret_key) < 32:
            found.append(
                "SECRET_KEY must be your own in production, at least 32 characters; make one with: openssl rand -hex 32"
            )
        if self.api_key and len(self.api_key) < SHORTEST_API_KEY:
            found.append(
                f"API_KEY must have at least {SHORTEST_API_KEY} characters in production; make one with: "
                "openssl rand -hex 32, or leave it empty to turn the platform's access off"
            )
        if self.model_provider == "demo":
            found.append("the demo model cannot serve in production; set OPENAI_API_KEY")
        if not self.public_base_url.startswith("https://"):
            found.append("PUBLIC_BASE_URL must be the https:// address that providers call and sign")
        return found


@lru_cache
def get_settings() -> Settings:
    """The process's settings, read once."""
    return Settings()

"""Every setting of the product; the only reader of the environment."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    SettingsConfigDict,
)

from viral.errors import BadSetting


def checkout() -> Path | None:
    """Find the source checkout that this package runs from, if it does."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() else None


def _default_home() -> Path:
    if (root := checkout()) is not None:
        return root / ".viral"
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "viral-dashboard"


class Settings(BaseSettings):
    """What a person may choose; the defaults work on a fresh machine."""

    model_config = SettingsConfigDict(
        env_file=(".env", ".env.local"),
        env_prefix="VIRAL_",
        extra="ignore",
        frozen=True,
        validate_by_name=True,
    )

    home: Path = Field(
        default_factory=_default_home,
        description="Folder of this installation: keys, data, logs.",
    )
    port: int = Field(default=8000, ge=1, le=65535, description="Port of the dashboard and API.")
    studio_port: int = Field(default=5555, ge=1, le=65535, description="Port of Studio.")
    pg_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port of the embedded PostgreSQL; by default a free one is chosen and kept.",
    )
    pg_bindir: Path | None = Field(
        default=None,
        description="Folder of the PostgreSQL programs to use instead of the packaged ones.",
    )
    public_url: str | None = Field(
        default=None,
        description="Address under which people reach the dashboard, if not the local one.",
    )
    environment: Literal["development", "production"] | None = Field(
        default=None,
        description="production: data is never thrown away. Unset: so is a server elsewhere.",
    )
    ci: str = Field(
        default="",
        validation_alias="CI",
        description="Set by build machines, where nobody is there to be asked.",
    )
    field_keys: SecretStr | None = Field(
        default=None,
        description="Keys of encrypted fields, `id:base64,id:base64`, the primary first. Unset:"
        " field_keys.json in VIRAL_HOME, made at the first start outside production.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Networks of the proxies in front, `10.0.0.0/8,::1`: only they are believed"
        " about whom they speak for.",
    )
    api_description: bool | None = Field(
        default=None,
        description="Whether /schema/openapi.json is served. Unset: not in production.",
    )
    key_requests: int = Field(default=300, ge=1, description="Requests a minute of an API key.")
    user_requests: int = Field(default=600, ge=1, description="Requests a minute of a person.")
    tenant_requests: int = Field(default=3000, ge=1, description="Requests a minute of a tenant.")
    address_requests: int = Field(
        default=1200, ge=1, description="Requests a minute from one address."
    )
    page_cache_mb: int = Field(
        default=32,
        ge=0,
        description="Memory for pages of the API, sent again while no row changes; 0: none.",
    )
    clerk_issuer: str | None = Field(
        default=None,
        validation_alias="CLERK_ISSUER",
        description="Sign-in by Clerk: the instance's frontend URL, as in the tokens' `iss`.",
    )
    clerk_authorized_parties: str = Field(
        default="",
        validation_alias="CLERK_AUTHORIZED_PARTIES",
        description="Origins whose Clerk tokens are taken (`azp`), comma-separated.",
    )
    clerk_jwt_key: str | None = Field(
        default=None,
        validation_alias="CLERK_JWT_KEY",
        description="The instance's public key as PEM. Unset: fetched from the issuer.",
    )
    clerk_secret_key: SecretStr | None = Field(
        default=None,
        validation_alias="CLERK_SECRET_KEY",
        description="The secret key of Clerk's API, to read people that a token names.",
    )
    clerk_api_url: str = Field(
        default="https://api.clerk.com/v1",
        validation_alias="CLERK_API_URL",
        description="Where Clerk's API is.",
    )
    clerk_webhook_secret: SecretStr | None = Field(
        default=None,
        validation_alias="CLERK_WEBHOOK_SECRET",
        description="`whsec_...` of Clerk's webhooks; several, comma-separated, in a change.",
    )
    stripe_api_key: SecretStr | None = Field(
        default=None,
        validation_alias="STRIPE_API_KEY",
        description="The secret key of Stripe: plans can be bought.",
    )
    stripe_api_url: str = Field(
        default="https://api.stripe.com/v1",
        validation_alias="STRIPE_API_URL",
        description="Where Stripe's API is.",
    )
    stripe_api_version: str = Field(
        default="2026-10-28.endive",
        validation_alias="STRIPE_API_VERSION",
        description="The version of Stripe's API that is asked for.",
    )
    stripe_webhook_secret: SecretStr | None = Field(
        default=None,
        validation_alias="STRIPE_WEBHOOK_SECRET",
        description="`whsec_...` of Stripe's webhooks; several, comma-separated, in a change.",
    )
    stripe_prices: str = Field(
        default="",
        validation_alias="STRIPE_PRICES",
        description="Stripe's price of each plan, `STARTER=price_1,PRO=price_2,AGENCY=price_3`.",
    )
    anthropic_api_key: SecretStr | None = Field(
        default=None,
        validation_alias="ANTHROPIC_API_KEY",
        description="The key of Anthropic: Claude critiques and writes. Unset: both offline.",
    )
    anthropic_base_url: str = Field(
        default="https://api.anthropic.com",
        validation_alias="ANTHROPIC_BASE_URL",
        description="Where Anthropic's API is.",
    )
    critic_model: str = Field(
        default="claude-sonnet-5-5",
        pattern=r"^[A-Za-z0-9._:@-]{1,100}$",
        description="The model of Claude that critiques.",
    )
    writer_model: str = Field(
        default="claude-sonnet-5-5",
        pattern=r"^[A-Za-z0-9._:@-]{1,100}$",
        description="The model of Claude that writes.",
    )
    claude_daily_cost: Decimal = Field(
        default=Decimal("1.00"),
        ge=Decimal(0),
        description="USD a tenant may cost at Anthropic a day (UTC); then all is done offline.",
    )
    jobs: Literal["local", "inngest"] = Field(
        default="local",
        description="Who calls the worker's handlers: its own loop, or Inngest.",
    )
    jobs_listen: bool = Field(
        default=True,
        description="Whether workers hear of new jobs (LISTEN), or look for them every second.",
    )
    inngest_event_key: SecretStr | None = Field(
        default=None,
        validation_alias="INNGEST_EVENT_KEY",
        description="The key that events are sent to Inngest with.",
    )
    inngest_signing_key: SecretStr | None = Field(
        default=None,
        validation_alias="INNGEST_SIGNING_KEY",
        description="`signkey-...`: signs what Inngest and this installation tell each other.",
    )
    inngest_signing_key_fallback: SecretStr | None = Field(
        default=None,
        validation_alias="INNGEST_SIGNING_KEY_FALLBACK",
        description="The other signing key while one replaces the other.",
    )
    inngest_api_url: str = Field(
        default="https://api.inngest.com",
        validation_alias="INNGEST_API_URL",
        description="Where Inngest's API is.",
    )
    inngest_event_url: str = Field(
        default="https://inn.gs",
        validation_alias="INNGEST_EVENT_URL",
        description="Where Inngest takes events.",
    )
    inngest_serve_url: str | None = Field(
        default=None,
        validation_alias="INNGEST_SERVE_URL",
        description="The whole address under which Inngest calls this installation.",
    )
    inngest_port: int = Field(
        default=8288,
        ge=1,
        le=65535,
        description="Port of 127.0.0.1 on which a worker takes Inngest's calls.",
    )
    database_url: str | None = Field(
        default=None,
        validation_alias="DATABASE_URL",
        description="PostgreSQL for the app; may be a transaction pooler. Unset: embedded.",
    )
    direct_url: str | None = Field(
        default=None,
        validation_alias="DIRECT_URL",
        description="The same database without a pooler, as the migrator role.",
    )
    replica_url: str | None = Field(
        default=None,
        validation_alias="REPLICA_URL",
        description="A streaming replica of it: reads that may be a moment late go there.",
    )
    pooler_port: int = Field(
        default=6432, ge=1, le=65535, description="Port of the PgBouncer of `viral pooler start`."
    )
    archive: bool = Field(
        default=True,
        description="Whether `viral up` archives WAL and makes backups of the embedded server.",
    )
    backup_url: str | None = Field(
        default=None,
        description="Where backups go, a folder or `s3://bucket/prefix`. Unset: backups/ in"
        " VIRAL_HOME.",
    )
    backup_keep: str = Field(
        default="7d",
        pattern=r"^[1-9][0-9]{0,3}d$",
        description="How far back `viral backup restore --at` must reach, in days: `7d`, `30d`.",
    )
    neon_api_key: SecretStr | None = Field(
        default=None,
        validation_alias="NEON_API_KEY",
        description="Key of Neon's API: `viral branch` works on a project there.",
    )
    neon_project_id: str | None = Field(
        default=None, validation_alias="NEON_PROJECT_ID", description="The project at Neon."
    )
    neon_api_url: str = Field(
        default="https://console.neon.tech/api/v2",
        validation_alias="NEON_API_URL",
        description="Where Neon's API is.",
    )

    @property
    def is_ci(self) -> bool:
        """Whether a build machine runs this; what they write there differs."""
        return self.ci.lower() not in {"", "0", "false", "no"}


def listed(text: str) -> list[str]:
    """Read a setting of several values, comma-separated."""
    return [each.strip() for each in text.split(",") if each.strip()]


def unknown_variables() -> list[str]:
    """List variables of the environment and the `.env` files that look like settings, and are none.

    A misspelt setting is otherwise passed over in silence.
    """
    given = {*EnvSettingsSource(Settings).env_vars, *DotEnvSettingsSource(Settings).env_vars}
    known = {f"viral_{name}" for name in Settings.model_fields}
    return sorted(name.upper() for name in given if name.startswith("viral_") and name not in known)


def load_settings() -> Settings:
    """Read the environment and `.env` files; a wrong value is named with its variable."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        variable = name if name.isupper() else f"VIRAL_{name.upper()}"
        raise BadSetting(
            f"{variable} cannot be used: {first['msg']}.",
            hint="Correct it in the environment or in .env.local.",
        ) from error
